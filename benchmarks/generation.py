"""
What does a small encoder write once it has learned to read one way?

The small masked LMs of gpu_masked_lm.py learn next words by the recipe `generation`: English from American presidents' speeches,
Chinese from classical novels (the first texts that hold `CHARACTERS` of them). Writes the perplexity on held-out texts after each epoch,
and continuations, likeliest words and drawn ones. On one thread; a row each, resumable.

    python benchmarks/generation.py --english SMALL_EN --speeches pretrain_en_speeches --chinese SMALL_ZH --novels pretrain_zh_novels
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
import transformers
from machine import measured_rows, write_rows

from electra_plus.data.examples import read_examples
from electra_plus.recipes.finetuning import FineTuningSettings, finetune
from electra_plus.recipes.prediction import predict
from electra_plus.recipes.settings import load_settings, recipe_file

CHARACTERS = {"english": 600_000, "chinese": 150_000}  # tokens: about 135,000 each
HELD_OUT = 20  # of the texts, every one of so many
PROMPTS = {
    "english": ("My fellow Americans, ", "The state of the Union is ", "We must ", "Our schools "),
    "chinese": ("话说", "次日清晨，", "那人大笑道：", "宝玉听了，"),
}
WAYS = {"likeliest": {"temperature": 0.0}, "drawn at 0.8": {"temperature": 0.8}}
NEW_TOKENS = 40


def write_texts(source: Path, folder: Path, characters: int) -> tuple[Path, Path]:
    """Write the texts to learn from and those held out."""
    kept, total = [], 0
    for row in read_examples(str(next(source.glob("*.txt*")))):
        if total >= characters:
            break
        kept.append({"text": row["text"]})
        total += len(row["text"])
    files = folder / "train.jsonl", folder / "validation.jsonl"
    for file, rows in zip(files, ([r for i, r in enumerate(kept) if i % HELD_OUT], kept[::HELD_OUT]), strict=True):
        write_rows(rows, file)
    return files


def run(language: str, options: argparse.Namespace) -> dict:
    """Train and write."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    model, source = (options.english, options.speeches) if language == "english" else (options.chinese, options.novels)
    with tempfile.TemporaryDirectory() as work:
        train, validation = write_texts(source, Path(work), CHARACTERS[language])
        given = {
            "model": str(model),
            "train_file": str(train),
            "validation_file": str(validation),
            "output_dir": f"{work}/run",
        }
        given["training"] = {"disable_tqdm": True, "use_cpu": True}
        before = time.process_time()
        figures = finetune(load_settings(FineTuningSettings, None, given, recipe_file("generation", "finetuning")))
        row = {
            "processor_seconds": time.process_time() - before,
            "perplexity": figures["validation"]["perplexity"]["mean"],
            "curve": figures["runs"]["0"]["curve"],
            "samples": {},
        }
        for way, how in WAYS.items():
            found = predict(
                given["output_dir"],
                texts=PROMPTS[language],
                options={**how, "max_new_tokens": NEW_TOKENS},
                show_progress=False,
            )
            row["samples"][way] = [
                [prompt, one["prediction"]] for prompt, one in zip(PROMPTS[language], found, strict=True)
            ]
    return row


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in (
        ("english", "checkpoint"),
        ("chinese", "checkpoint"),
        ("speeches", "folder of a text file"),
        ("novels", "the same"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--jobs", type=int, default=1, help="rows measured at a time (default: %(default)s)")
    parser.add_argument("--one", nargs=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one[0], options)))
        return
    settings = {"characters": CHARACTERS, "new_tokens": NEW_TOKENS}
    measured_rows("generation", settings, [{"language": language} for language in PROMPTS], options.jobs)


if __name__ == "__main__":
    main()
