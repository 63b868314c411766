"""
How long does `from_pretrained` take beside stock ELECTRA's, and how much memory at its peak?

A detector of each size is saved by transformers and by this package, with equal weights. Each figure is that of a fresh process,
imports done and files in the page cache; a round loads by every way, one after the other.

    python benchmarks/loading.py --rounds 9
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from machine import forget_peak, measured_rows, peak_resident_bytes

ARMS = ("stock", "ours", "stock folder")  # stock's class; ours; ours on the folder that stock wrote
SIZES = {
    "small": {"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"embedding_size": 768, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
FOLDERS = Path(tempfile.gettempdir()) / "electra_plus_loading"


def make_folders(size: str) -> None:
    """Save equal weights in both forms, once."""
    import transformers

    import electra_plus

    stock, ours = FOLDERS / f"{size}-stock", FOLDERS / f"{size}-ours"
    if not (ours / "model.safetensors").exists():
        config = transformers.ElectraConfig(num_hidden_layers=12, **SIZES[size])
        transformers.ElectraForPreTraining(config).save_pretrained(stock)
        electra_plus.ElectraPlusForReplacedTokenDetection.from_pretrained(stock).save_pretrained(ours)
    for folder in (stock, ours):
        (folder / "model.safetensors").read_bytes()  # into the page cache


def measure(size: str, arm: str) -> dict[str, float]:
    """Load once and use every weight once; seconds, and bytes at the peak above what was there before."""
    import torch
    import transformers

    model_class = transformers.ElectraForPreTraining
    if arm != "stock":
        import electra_plus

        model_class = electra_plus.ElectraPlusForReplacedTokenDetection
    folder = FOLDERS / f"{size}-{'ours' if arm == 'ours' else 'stock'}"
    transformers.utils.logging.disable_progress_bar()
    model_class.from_pretrained(folder)  # what a first load imports is no loading
    forget_peak()
    before = peak_resident_bytes()
    started = time.perf_counter()
    model = model_class.from_pretrained(folder)
    with torch.no_grad():
        total = sum(parameter.sum().item() for parameter in model.parameters())  # pages of a mapped file are read here
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_bytes": peak_resident_bytes() - before, "sum_of_weights": total}


def main() -> None:
    """Measure what is missing, or one load in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="loads of each kind (default: %(default)s)")
    parser.add_argument("--one", nargs=3, metavar=("SIZE", "ARM", "ROUND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one[:2])))
        return
    for size in SIZES:
        make_folders(size)
    # every other round the other way round
    order = [list(ARMS) if number % 2 else list(reversed(ARMS)) for number in range(arguments.rounds)]
    wanted = [
        {"size": size, "arm": arm, "round": number}
        for size in SIZES
        for number, arms in enumerate(order)
        for arm in arms
    ]
    measured_rows("loading", {"rounds": arguments.rounds, "layers": 12}, wanted)


if __name__ == "__main__":
    main()
