"""
How much does `import electra_plus` add to `from transformers import AutoModel`?

Each time is that of a fresh interpreter. A round times both, in an order that alternates, and gives one difference; single
imports vary by more than what is asked for, so it takes many rounds, and the middle half of the differences is kept too.

    python benchmarks/import_time.py --rounds 15
"""

import argparse
import statistics
import subprocess
import sys

from machine import save_result

STATEMENTS = {
    "transformers.AutoModel": "from transformers import AutoModel",
    "electra_plus": "from transformers import AutoModel; import electra_plus",
}


def import_seconds(statement: str) -> float:
    """Time a statement in a fresh interpreter, start-up of the interpreter not counted."""
    code = f"import time; started = time.perf_counter(); {statement}; print(time.perf_counter() - started)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: %(default)s)")
    rounds = parser.parse_args().rounds
    for statement in STATEMENTS.values():
        import_seconds(statement)  # files into the page cache
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for number in range(rounds):
        names = list(STATEMENTS)
        for name in names if number % 2 else reversed(names):
            seconds[name].append(import_seconds(STATEMENTS[name]))
    differences = [ours - theirs for theirs, ours in zip(*seconds.values(), strict=True)]
    low, added, high = statistics.quantiles(differences, n=4)
    for name, values in seconds.items():
        print(f"{name:<24} {statistics.median(values):.2f} s")
    print(f"added {added:.3f} s (middle half of the rounds {low:.3f} to {high:.3f})")
    result = {"rounds": rounds, "seconds": seconds, "added_seconds": added, "added_quartiles": [low, high]}
    print(save_result("import_time", result))


if __name__ == "__main__":
    main()
