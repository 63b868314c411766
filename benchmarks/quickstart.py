"""
What does `electra-plus quickstart` give in its four minutes, over several seeds?

Each run is the whole job in a process of its own, as `make quickstart` starts it: tokenizer, pretraining, fine-tuning with and
without that pretraining. Runs that are already in the result file are not repeated.

    python benchmarks/quickstart.py --seeds 0 1 2
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import RESULTS, save_result


def run(seed: int) -> dict:
    """Run the job and return its figures, with the wall time of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "electra_plus", "quickstart", "--output", folder, "--seed", str(seed)]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        figures = json.loads((Path(folder) / "figures.json").read_text(encoding="utf-8"))
    return {**figures, "process_seconds": seconds}


def main() -> None:
    """Run what is missing and save after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one run each (default: 0 1 2)")
    parser.add_argument("--anew", action="store_true", help="forget the runs in the result file")
    options = parser.parse_args()
    file = RESULTS / "quickstart.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() and not options.anew else []
    for seed in options.seeds:
        if seed not in {found["seed"] for found in runs}:
            runs.append(run(seed))
            print(save_result("quickstart", {"runs": runs}))


if __name__ == "__main__":
    main()
