"""
Do models that read whole documents beat the same checkpoint that reads their beginning?

Sentiment of film reviews, fine-tuned from one checkpoint in five ways: cut after 128 tokens, cut after 512, chunks weighed
alone (evidence pooling), chunks related by an encoder layer (hierarchical), and, for rotary positions, the whole text in one
row. All see at most 2,048 tokens, all train for the same epochs, each seed draws another order and other new layers. The
truncated readers average their token vectors. Rows of the table that are in the result file are not measured again.

    electra-plus quickstart --output quickstart
    python benchmarks/long_context.py --data movie_reviews_long --start quickstart/pretrained
"""

import argparse
import json
from pathlib import Path

import transformers
from finetuned import finetuned
from machine import measured_rows, peak_resident_bytes

from electra_plus import ElectraPlusForLongSequenceClassification, ElectraPlusForSequenceClassification
from electra_plus.data.chunking import DataCollatorForLongText, chunk_text, chunked_row
from electra_plus.data.examples import read_examples

MAX_TOKENS = 2048
CHUNK_LENGTH = 128
CHUNKS_AT_ONCE = 64  # of a step's: most steps fit and compute nothing twice
ROWS_PER_STEP = 8
READERS = ("first 128", "first 512", "whole text", "evidence pooling", "hierarchical")


def truncated_rows(examples: list[dict], tokenizer, length: int) -> list[dict]:
    """Return one row for each document, cut after `length` tokens."""
    encoded = tokenizer([row["text"] for row in examples], truncation=True, max_length=length)
    return [{"input_ids": ids, "labels": row["label"]} for ids, row in zip(encoded["input_ids"], examples, strict=True)]


def chunked_rows(examples: list[dict], tokenizer) -> list[dict]:
    """Return one row of chunks for each document."""
    limit = MAX_TOKENS // CHUNK_LENGTH
    chunks = [chunk_text(row["text"], tokenizer, CHUNK_LENGTH)[:limit] for row in examples]
    return [{**chunked_row(found), "labels": row["label"]} for found, row in zip(chunks, examples, strict=True)]


def run(reader: str, seed: int, options: argparse.Namespace) -> dict:
    """Fine-tune and evaluate one reader; return its figures."""
    transformers.set_seed(seed)
    transformers.utils.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.start)
    parts = {part: read_examples(next(options.data.glob(f"{part}.jsonl*"))) for part in ("train", "validation")}
    if reader in ("evidence pooling", "hierarchical"):
        rows = {part: chunked_rows(examples, tokenizer) for part, examples in parts.items()}
        collate = DataCollatorForLongText(tokenizer)
        model = ElectraPlusForLongSequenceClassification.from_pretrained(
            options.start,
            num_labels=2,
            chunk_length=CHUNK_LENGTH,
            chunks_at_once=CHUNKS_AT_ONCE,
            num_chunk_layers=int(reader == "hierarchical"),
        )
    else:
        length = {"first 128": 128, "first 512": 512, "whole text": MAX_TOKENS}[reader]
        rows = {part: truncated_rows(examples, tokenizer, length) for part, examples in parts.items()}
        collate = transformers.DataCollatorWithPadding(tokenizer)
        model = ElectraPlusForSequenceClassification.from_pretrained(
            options.start, num_labels=2, classifier_pooling="mean"
        )
    predicted, labels, seconds = finetuned(
        model,
        collate,
        rows["train"],
        rows["validation"],
        seed,
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        per_device_train_batch_size=ROWS_PER_STEP,
        per_device_eval_batch_size=ROWS_PER_STEP,
    )
    return {
        "accuracy": float((predicted == labels).mean()),
        "num_train": len(rows["train"]),
        "num_validation": len(labels),
        "training_seconds": seconds,
        "peak_resident_bytes": peak_resident_bytes(),
    }


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with train.jsonl(.gz) and validation.jsonl(.gz)"
    )
    parser.add_argument("--start", required=True, help="checkpoint with a tokenizer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS, help="(default: all)")
    parser.add_argument("--epochs", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="(default: %(default)s)")
    parser.add_argument("--one", nargs=2, metavar=("READER", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = {
        "start": Path(options.start).name,
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "max_tokens": MAX_TOKENS,
    }
    if options.one:
        reader, seed = options.one
        print(json.dumps(run(reader, int(seed), options)))
        return
    wanted = [{"reader": reader, "seed": seed} for seed in options.seeds for reader in options.readers]
    measured_rows("long_context", settings, wanted)


if __name__ == "__main__":
    main()
