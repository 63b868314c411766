"""
How well does a small model translate after half an hour on two cores?

Multi30k, English to German (29,000 pairs of captions): a tokenizer of both languages with capitals, an encoder and a decoder of 3
layers of width 256 with random weights, and the recipe `translation-en-de` with fewer epochs, in rows of like length. After each epoch
300 validation pairs are translated without a beam; at the end the test of 2016 with four. Writes the curve, the scores and the
translations that come nearest to and farthest from their references, and draws the curve.

    python benchmarks/translation.py --data multi30k_en_de --work translation
"""

import argparse
import sys
import time
from pathlib import Path

import torch
import transformers
from machine import RESULTS, save_result, write_rows

from electra_plus import ElectraPlusConfig, ElectraPlusForPreTraining
from electra_plus.data.examples import read_examples
from electra_plus.metrics import load_metric
from electra_plus.recipes.finetuning import FineTuningSettings, finetune
from electra_plus.recipes.prediction import predict
from electra_plus.recipes.preparation import PreparationSettings, prepare
from electra_plus.recipes.settings import load_settings, recipe_file
from electra_plus.recipes.task_data import limited

VOCAB_SIZE = 8000
SHAPE = {"hidden_size": 256, "embedding_size": 256, "num_attention_heads": 4, "intermediate_size": 512}
VALIDATION_ROWS = 300
BEAMS = 4
NUM_SAMPLES = 6  # of the best, and of the worst


def fresh_model(train: list[dict], work: Path) -> Path:
    """Write a tokenizer trained on both languages and a model with random weights, unless they are there; return the model's folder."""
    folder = work / "fresh"
    if not (folder / "tokenizer.json").exists():
        texts = work / "both.txt"
        pairs = (row["translation"] for row in train)
        texts.write_text("\n\n".join(f"{pair['en']}\n{pair['de']}" for pair in pairs), encoding="utf-8")
        prepare(PreparationSettings([str(texts)], str(work / "prepared"), vocab_size=VOCAB_SIZE, cased=True))
        tokenizer = transformers.AutoTokenizer.from_pretrained(work / "prepared")
        transformers.set_seed(0)
        config = ElectraPlusConfig.preset(
            "modern-tiny", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SHAPE
        )
        ElectraPlusForPreTraining(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def samples(rows: list[dict], predictions: list[str]) -> list[dict[str, str | float]]:
    """Return the translations nearest to their references and the farthest, by chrF of the sentence."""
    metric = load_metric("chrf")
    found = [
        {
            "source": row["translation"]["en"],
            "reference": row["translation"]["de"],
            "translation": prediction,
            "chrf": metric.compute(predictions=[prediction], references=[row["translation"]["de"]])["score"],
        }
        for row, prediction in zip(rows, predictions, strict=True)
    ]
    # a caption of a dozen words says more than one of four
    long = sorted((one for one in found if len(one["source"].split()) >= 10), key=lambda one: -one["chrf"])
    return [*long[:NUM_SAMPLES], *long[-NUM_SAMPLES:]]


def draw(curve: list[dict], file: Path) -> None:
    """Draw losses and BLEU over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(entry["epoch"], entry[name]) for entry in curve if name in entry]
        left.plot(*zip(*points, strict=True), label=label)
    left.set(xlabel="epoch", ylabel="nats a token", title="loss")
    left.legend(frameon=False)
    for name, label in (("eval_bleu", "BLEU"), ("eval_chrf", "chrF")):
        points = [(entry["epoch"], entry[name]) for entry in curve if name in entry]
        right.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    right.set(xlabel="epoch", title=f"{VALIDATION_ROWS} validation pairs, no beam")
    right.legend(frameon=False)
    figure.savefig(file, dpi=120)


def main() -> None:
    """Train, or go on, then score and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of Multi30k: train, validation, test_2016_flickr"
    )
    parser.add_argument("--work", type=Path, default=Path("translation"), help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    train, validation, test = (
        next(options.data.glob(f"{split}.jsonl*")) for split in ("train", "validation", "test_2016_flickr")
    )
    train_rows = read_examples(str(train))
    model = fresh_model(train_rows, options.work)
    some = options.work / "validation.jsonl"
    write_rows(limited(read_examples(str(validation)), VALIDATION_ROWS), some)
    settings = load_settings(
        FineTuningSettings,
        None,
        {
            "model": str(model), "train_file": str(train), "validation_file": str(some), "output_dir": str(options.work / "run"),
            "options": {"num_beams": 1}, "model_fields": {"hidden_dropout_prob": 0.1},
            "training": {"num_train_epochs": options.epochs, "train_sampling_strategy": "group_by_length"},
        },
        recipe_file("translation-en-de", "finetuning"),
    )  # fmt: skip
    started = time.process_time()
    run = finetune(settings)["runs"]["0"]
    seconds = time.process_time() - started
    pairs = read_examples(str(test))
    scores, predictions = {}, []
    for beams in (1, BEAMS):
        rows = predict(
            str(options.work / "run"), str(test), options={"num_beams": beams}, show_progress=sys.stderr.isatty()
        )
        predictions = [row["prediction"] for row in rows]
        scores[beams] = {
            name: load_metric(metric).compute(
                predictions=predictions, references=[row["translation"]["de"] for row in pairs]
            )["score"]
            for name, metric in (("bleu", "sacrebleu"), ("chrf", "chrf"))
        }
    result = {
        "settings": settings.training | {"epochs": options.epochs, "vocab_size": VOCAB_SIZE, "beams": BEAMS},
        "train_rows": len(train_rows),
        "test_rows": len(pairs),
        "processor_seconds": seconds,
        "test": scores[BEAMS],
        "test_without_beam": scores[1],
        "curve": run["curve"],
        "samples": samples(pairs, predictions),
    }
    print({"test": result["test"], "processor_seconds": seconds})
    draw(run["curve"], RESULTS / "translation.png")
    print(save_result("translation", result))


if __name__ == "__main__":
    main()
