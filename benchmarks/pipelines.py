"""
How fast are the pipelines, beside the stock ones at their best batch size?

ELECTRA-small with random weights, float32, the same in transformers' class and in ours; sentences of a file in the order of the file.
Each round runs every way once, after one that does not count, so that all meet the machine in the same state. A ratio is to the stock
pipeline at the batch size that is its fastest over all rounds, in the same round. Scores are compared over all sentences.

    python benchmarks/pipelines.py
    python benchmarks/pipelines.py --texts sst2/validation.jsonl --rounds 7
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from machine import RESULTS, save_result

import electra_plus
from electra_plus.data.corpus import read_documents
from electra_plus.data.examples import read_examples
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.samples import sample_path

BATCH_SIZES = (1, 8, 32)
TASKS = {
    "text-classification": ("ForSequenceClassification", {"num_labels": 2}),
    "token-classification": ("ForTokenClassification", {"num_labels": 9}),
}
SINGLE_TEXTS = 40  # given one by one


def texts_of(file: Path) -> list[str]:
    """Read the column `sentence` or `text`."""
    rows = read_examples(file)
    column = "sentence" if "sentence" in rows[0] else "text"
    return [row[column].strip() for row in rows]


def tokenizer_of_samples() -> transformers.PreTrainedTokenizerBase:
    """WordPiece of 8,000 tokens, trained on the reviews that ship: the sentences measured are new to it."""
    reviews = [line for document in read_documents([sample_path("reviews.txt.gz")]) for line in document]
    return train_wordpiece_tokenizer(reviews, 8000)


def models_of(task: str) -> dict[str, torch.nn.Module]:
    """Stock ELECTRA-small and ours with the same weights."""
    head, fields = TASKS[task]
    torch.manual_seed(0)
    stock = getattr(transformers, f"Electra{head}")(transformers.ElectraConfig(**fields)).eval()
    config = electra_plus.ElectraPlusConfig.preset("small", generator_config=None, **fields)
    ours = getattr(electra_plus, f"ElectraPlus{head}")(config).eval()
    ours.load_state_dict(stock.state_dict(), strict=True)
    return {"stock": stock, "electra_plus": ours}


def seconds_of(run: Callable[[], object]) -> float:
    """Time a call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def largest_difference(found: list, expected: list) -> float:
    """Return the largest difference of scores; labels and places must agree."""
    if isinstance(expected, dict):
        assert all(found[name] == value for name, value in expected.items() if name != "score"), (found, expected)
        return abs(float(found["score"]) - float(expected["score"]))
    assert len(found) == len(expected)
    return max((largest_difference(one, other) for one, other in zip(found, expected, strict=True)), default=0.0)


def measure(task: str, texts: list[str], tokenizer, rounds: int) -> dict:
    """Time every way over the same texts, in turn."""
    models = models_of(task)
    stock = transformers.pipeline(task, models["stock"], tokenizer=tokenizer, device="cpu")
    ours = {
        f"electra_plus, {name} model": electra_plus.pipeline(task, model, tokenizer=tokenizer, device="cpu")
        for name, model in models.items()
    }
    runs = {f"stock, batch size {size}": lambda size=size: stock(texts, batch_size=size) for size in BATCH_SIZES}
    runs |= {name: lambda pipe=pipe: pipe(texts) for name, pipe in ours.items()}
    alone = {
        name: lambda pipe=pipe: [pipe(text) for text in texts[:SINGLE_TEXTS]]
        for name, pipe in {"stock": stock, **ours}.items()
    }
    expected = stock(texts)
    difference = max(largest_difference(pipe(texts), expected) for pipe in ours.values())
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    seconds_alone: dict[str, list[float]] = {name: [] for name in alone}
    for number in range(rounds + 1):
        for ways, found in ((runs, seconds), (alone, seconds_alone)):
            for name, run in ways.items():
                taken = seconds_of(run)
                if number:
                    found[name].append(taken)
    best = min((name for name in runs if name.startswith("stock")), key=lambda name: statistics.median(seconds[name]))
    return {
        "seconds": seconds,
        "stock_best": best,
        "speed_ratio": {
            name: [a / b for a, b in zip(seconds[best], values, strict=True)] for name, values in seconds.items()
        },
        "seconds_alone": seconds_alone,
        "largest_difference": difference,
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, default=sample_path("sentiment_validation.jsonl"))
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--tasks", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result (default: %(default)s)")
    arguments = parser.parse_args()
    texts, tokenizer = texts_of(arguments.texts), tokenizer_of_samples()
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    found: dict = {
        "texts": arguments.texts.name,
        "num_texts": len(texts),
        "tokens": sum(lengths),
        "rounds": arguments.rounds,
        "tasks": {},
    }
    for task in arguments.tasks:
        measured = found["tasks"][task] = measure(task, texts, tokenizer, arguments.rounds)
        for name, values in measured["seconds"].items():
            ratios = measured["speed_ratio"][name]
            print(
                f"{task}, {name}: {statistics.median(values):.2f} s, {statistics.median(ratios):.2f} times stock's best "
                f"({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )
        print(f"largest difference of scores: {measured['largest_difference']:.1e}", flush=True)
        save_result("pipelines", found, arguments.output)


if __name__ == "__main__":
    main()
