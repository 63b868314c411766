"""
What does ONNX Runtime bring on a processor, beside PyTorch with the same weights?

A classifier with random weights in both flavours, float32, one thread, exported by `export_onnx`. Each round runs either once, after one that
does not count; a ratio is of the two in the same round. Processor time is measured, which other programs change less than the clock.

    python benchmarks/onnx_runtime.py
    python benchmarks/onnx_runtime.py --presets small --rounds 3
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import RESULTS, save_result
from pipelines import largest_difference, texts_of, tokenizer_of_samples

import electra_plus
from electra_plus.export import export_onnx
from electra_plus.pipelines import OnnxModel
from electra_plus.samples import sample_path

PRESETS = ("small", "modern-small")
SHAPES = ((1, 32), (1, 128), (16, 128), (2, 512))  # rows, tokens of a row


def in_turn(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of each run in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.process_time()
            run()
            if number:
                seconds[name].append(time.process_time() - started)
    return seconds


def measure(preset: str, texts: list[str], tokenizer, rounds: int) -> dict:
    """Export a preset and time the model alone on some shapes, and the pipeline on texts."""
    torch.manual_seed(0)
    config = electra_plus.ElectraPlusConfig.preset(
        preset, vocab_size=len(tokenizer), generator_config=None, num_labels=2
    )
    model = electra_plus.ElectraPlusForSequenceClassification(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(f"{folder}/model")
        tokenizer.save_pretrained(f"{folder}/model")
        report = export_onnx(f"{folder}/model", f"{folder}/onnx")
        graph = OnnxModel.from_pretrained(f"{folder}/onnx")
        pipes = {
            name: electra_plus.pipeline("text-classification", f"{folder}/{name}", device="cpu")
            for name in ("model", "onnx")
        }
    found = {"bytes": report["bytes"], "largest_difference": report["largest_difference"], "shapes": []}
    for rows, length in SHAPES:
        ids = torch.randint(5, len(tokenizer), (rows, length))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            seconds = in_turn({"torch": lambda b=batch: model(**b), "onnx": lambda b=batch: graph(**b)}, rounds)
        found["shapes"].append({"rows": rows, "length": length, "seconds": seconds})
    found["largest_difference_of_answers"] = largest_difference(pipes["onnx"](texts), pipes["model"](texts))
    found["pipeline"] = in_turn(
        {"torch": lambda: pipes["model"](texts), "onnx": lambda: pipes["onnx"](texts)}, max(1, rounds // 3)
    )
    return found


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--texts", type=Path, default=sample_path("sentiment_validation.jsonl"))
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    texts, tokenizer = texts_of(arguments.texts), tokenizer_of_samples()
    result: dict = {"texts": arguments.texts.name, "num_texts": len(texts), "rounds": arguments.rounds, "presets": {}}
    for preset in arguments.presets:
        measured = result["presets"][preset] = measure(preset, texts, tokenizer, arguments.rounds)
        for shape in measured["shapes"]:
            medians = {name: statistics.median(values) for name, values in shape["seconds"].items()}
            print(f"{preset}, {shape['rows']} x {shape['length']}: {medians}", flush=True)
        save_result("onnx_runtime", result, arguments.output)


if __name__ == "__main__":
    main()
