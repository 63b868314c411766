"""
How much does `import electra_plus` add to `from transformers import AutoModel`?

Each time is that of a fresh interpreter; rounds are interleaved, so that a slow moment of the machine meets both.

    python benchmarks/import_time.py --rounds 7
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
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: %(default)s)")
    rounds = parser.parse_args().rounds
    for statement in STATEMENTS.values():
        import_seconds(statement)  # files into the page cache
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            seconds[name].append(import_seconds(statement))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    added = medians["electra_plus"] - medians["transformers.AutoModel"]
    for name, median in medians.items():
        print(f"{name:<24} {median:.2f} s")
    print(f"added {added:.3f} s")
    print(save_result("import_time", {"rounds": rounds, "seconds": seconds, "added_seconds": added}))


if __name__ == "__main__":
    main()
