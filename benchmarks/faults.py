"""
What survives when a pretraining run is killed, its checkpoints are damaged, or the disk is full?

A run of `electra-plus pretrain` on a book that ships is made once without interruption. Then:

- `kills`: the same run is killed (SIGKILL) at random moments, again and again, each time started anew by the same command, and at
  last left to finish. Losses and final weights must equal the uninterrupted run's to the last bit.
- `damage`: of a run that was killed, the latest checkpoint is cut, changed in one bit, robbed of a file or of its manifest. The same
  command must leave it out, go on from the one before, and end equal.
- `full disk`: no file may grow beyond a size that a checkpoint needs (RLIMIT_FSIZE, which fails a write as a full disk does). The run
  must stop with one line, the checkpoints before must be whole, and the same command must end equal once there is room.

    python benchmarks/faults.py --kills 25
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import save_result

from electra_plus.data.corpus import read_documents
from electra_plus.samples import sample_path
from electra_plus.training.checkpoints import MANIFEST, UNFINISHED, checkpoint_folders, what_is_wrong

TRAINING = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "logging_steps": 3,
    "save_total_limit": 2,
    "eval_strategy": "no",
    "disable_tqdm": True,
    "report_to": "none",
    "use_cpu": True,
    "peak_flops": 1e11,
}


class Run:
    """A run in a folder of its own, started as often as need be."""

    def __init__(self, folder: Path, text: Path, steps: int, save_steps: int):
        self.output = folder / "run"
        folder.mkdir(parents=True)
        self.config = folder / "pretrain.yaml"
        settings = {
            "train_files": [str(text)],
            "output_dir": str(self.output),
            "vocab_size": 1000,
            "row_length": 64,
            "preset": "modern-tiny",
            "model": {"hidden_dropout_prob": 0.1},  # so that there is more to repeat
            "training": {**TRAINING, "max_steps": steps, "save_steps": save_steps},
        }
        self.config.write_text(json.dumps(settings), encoding="utf-8")  # json is yaml

    def start(self, file_limit: int | None = None) -> subprocess.Popen:
        """Start the command, in a process group of its own."""

        def limit() -> None:
            if file_limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        return subprocess.Popen(
            [sys.executable, "-m", "electra_plus", "pretrain", "--config", str(self.config)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=limit,
        )

    def finish(self) -> str:
        """Run to the end; return what it printed as errors."""
        process = self.start()
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the run ended with {process.returncode}: {errors[-2000:]}")
        return errors

    def progress(self) -> int:
        """Steps of the latest checkpoint."""
        return max((int(folder.name.split("-")[1]) for folder in checkpoint_folders(self.output)), default=0)

    def outcome(self) -> tuple[list, str]:
        """Losses as logged, and a checksum of the final weights."""
        state = json.loads((checkpoint_folders(self.output)[0] / "trainer_state.json").read_text())
        losses = [
            (entry["step"], entry["loss"], entry["grad_norm"]) for entry in state["log_history"] if "loss" in entry
        ]
        return losses, hashlib.sha256((self.output / "model.safetensors").read_bytes()).hexdigest()


def kill_after_progress(run: Run, seconds: float) -> bool:
    """Start, wait for a new checkpoint and then some seconds, kill; return whether it was alive until then."""
    before, process = run.progress(), run.start()
    while process.poll() is None and run.progress() == before:
        time.sleep(0.005)
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def flip_bit(folder: Path) -> None:
    """Change one bit of the optimizer's state."""
    file = folder / "optimizer.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut_weights(folder: Path) -> None:
    """Leave the first half of the weights."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "weights cut in half": cut_weights,
    "one bit of the optimizer's state changed": flip_bit,
    "trainer_state.json deleted": lambda folder: (folder / "trainer_state.json").unlink(),
    "manifest deleted": lambda folder: (folder / MANIFEST).unlink(),
}


def main() -> None:
    """Do all three, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="SIGKILLs that must hit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    save_steps, steps = 4, 4 * (6 * options.kills + 20)
    result: dict = {"kills": 0, "while_writing": 0, "mismatches": 0, "steps": steps, "seed": options.seed}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = next(iter(read_documents([sample_path("held_out_book.txt.gz")])))[:200]
        text = folder / "book.txt"
        text.write_text("\n".join(book), encoding="utf-8")
        whole = Run(folder / "whole", text, steps, save_steps)
        whole.finish()
        expected = whole.outcome()

        killed = Run(folder / "killed", text, steps, save_steps)
        while result["kills"] < options.kills:
            if not kill_after_progress(killed, rng.random() * 0.5):
                raise RuntimeError("the run finished before it was killed often enough: give it more steps")
            result["kills"] += 1
            result["while_writing"] += any((killed.output / UNFINISHED).glob("checkpoint-*"))
            print(f"kill {result['kills']}, after checkpoint-{killed.progress()}", flush=True)
        shutil.copytree(killed.output, folder / "kept")
        killed.finish()
        result["mismatches"] = int(killed.outcome() != expected)
        print(f"mismatches after {result['kills']} kills: {result['mismatches']}", flush=True)

        result["damage"] = {}
        for number, (damage, do) in enumerate(DAMAGES.items()):
            run = Run(folder / f"damage-{number}", text, steps, save_steps)
            shutil.copytree(folder / "kept", run.output)
            latest = checkpoint_folders(run.output)[0]
            do(latest)
            errors = run.finish()
            result["damage"][damage] = {
                "left_out": f"`{latest}` is left out" in errors,
                "equal": run.outcome() == expected,
            }
            print(damage, result["damage"][damage], flush=True)

        run = Run(folder / "full", text, steps, save_steps)
        shutil.copytree(folder / "kept", run.output)
        limit = (checkpoint_folders(run.output)[0] / "optimizer.pt").stat().st_size // 2
        process = run.start(file_limit=limit)
        _, errors = process.communicate()
        left_whole = all(what_is_wrong(checkpoint) is None for checkpoint in checkpoint_folders(run.output))
        said = "Earlier checkpoints are intact" in errors
        run.finish()
        result["full_disk"] = {
            "exit_status": process.returncode, "said": said, "left_whole": left_whole, "equal": run.outcome() == expected,
        }  # fmt: skip
        print("full disk", result["full_disk"])
    print(save_result("faults", result))


if __name__ == "__main__":
    main()
