"""
What does each augmentation bring at 200, 500 and 1,000 rows?

Sentiment of SST-2 from a small BERT, fine-tuned with as many optimizer steps whatever the arm: changed copies share the steps with the
rows, so an arm has to beat more passes over the rows themselves. Each seed draws rows, the new head, the order and dropout.

- `none`: the rows alone.
- `delete`, `swap`: a copy of each row with a tenth of its words (one at least) left out, or exchanged.
- `synonyms`: replaced by one of the nearest words in the encoder's own table of embeddings, a list that this script writes. Antonyms
  are near there too (Mrksic et al. 2016, https://arxiv.org/abs/1603.00892).
- `masked-lm`: replaced by draws of a masked LM, such as that of `half_hour.py`.
- `masked-lm, sure`: of these copies, those to whose label the classifier of `none` gives a half at least.
- `mixup`: no copies; sentence vectors and targets are mixed, alpha 0.4.

Two tests: the validation sentences, and 2,000 phrases of the training file. Phrases that contain a test phrase or are contained in
one are never trained on: SST-2's training rows are parts of common sentences.

    python benchmarks/augmentation.py --model MINILM --name all-MiniLM-L6-v2 --masked-lm MASKED_LM --train train.jsonl.gz \\
        --validation validation.jsonl.gz
"""

import argparse
import json
import logging
import random
import re
import shutil
from pathlib import Path

import torch
import transformers
from machine import measured_rows, write_rows

from electra_plus.data.examples import read_examples
from electra_plus.recipes.finetuning import FineTuningSettings, finetune

STEPS = {200: 80, 500: 120, 1000: 200}
TRAINING = {
    "per_device_train_batch_size": 16, "eval_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
    "use_cpu": True,
}  # fmt: skip
NUM_TEST_PHRASES = 2000
NEIGHBOURS = 3
LEAST_COSINE = 0.5  # of a neighbour
KEEP_SURE = 0.5


def arms(options: argparse.Namespace, rows: int, seed: int) -> dict[str, dict | None]:
    """Return the setting `augment` of each arm; `none` comes first, for its classifier serves another."""
    masked_lm = {"how": "masked-lm", "model": options.masked_lm}
    sure = {"keep_sure": KEEP_SURE, "classifier": str(folder_of(options, "none", rows, seed))}
    return {
        "none": None,
        "delete": {"how": "delete"},
        "swap": {"how": "swap"},
        "synonyms": {"how": "synonyms", "synonyms": str(options.work / "synonyms.json")},
        "masked-lm": masked_lm,
        "masked-lm, sure": {**masked_lm, **sure},
        "mixup": {"mixup": 0.4},
    }


def folder_of(options: argparse.Namespace, arm: str, rows: int, seed: int) -> Path:
    """Return where a run leaves its model."""
    return options.work / f"{arm.replace(', ', '-')}-{rows}-{seed}"


def apart(rows: list[dict], test: list[dict]) -> list[dict]:
    """Return the rows whose words neither contain those of a test row nor are contained in them."""
    phrases = {tuple(row["sentence"].split()) for row in test}
    lengths = sorted({len(phrase) for phrase in phrases})
    whole = "|".join(f" {' '.join(phrase)} " for phrase in phrases)

    def meets(words: list[str]) -> bool:
        if f" {' '.join(words)} " in whole:
            return True
        return any(
            tuple(words[start : start + length]) in phrases
            for length in lengths
            for start in range(len(words) - length + 1)
        )

    return [row for row in rows if not meets(row["sentence"].split())]


def near_words(model: str) -> dict[str, list[str]]:
    """Return the nearest words of each word in a model's table of embeddings, by cosine."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    table = transformers.AutoModel.from_pretrained(model).get_input_embeddings().weight.detach()
    words = [
        (token, number)
        for token, number in tokenizer.get_vocab().items()
        if token.isascii() and token.isalpha() and len(token) > 2
    ]
    vectors = torch.nn.functional.normalize(table[[number for _, number in words]], dim=-1)
    found = {}
    for start in range(0, len(words), 1024):
        cosines = vectors[start : start + 1024] @ vectors.T
        best = cosines.topk(NEIGHBOURS + 1, dim=-1)
        for row, (values, places) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            own = start + row
            near = [words[p][0] for value, p in zip(values, places, strict=True) if p != own and value >= LEAST_COSINE]
            if near:
                found[words[own][0]] = near[:NEIGHBOURS]
    return found


def prepare(options: argparse.Namespace) -> None:
    """Write the rows of every run, the tests and the list of near words, once."""
    options.work.mkdir(parents=True, exist_ok=True)
    rows = read_examples(options.train)
    random.Random(0).shuffle(rows)
    test = rows[:NUM_TEST_PHRASES]
    pool = apart(rows[NUM_TEST_PHRASES:], test)
    write_rows(test, options.work / "phrases.jsonl")
    write_rows(read_examples(options.validation), options.work / "sentences.jsonl")
    for seed in options.seeds:
        drawn = random.Random(seed).sample(pool, max(options.rows))
        for number in options.rows:
            write_rows(drawn[:number], options.work / f"train-{number}-{seed}.jsonl")
    (options.work / "synonyms.json").write_text(json.dumps(near_words(options.model)), encoding="utf-8")


class Remarks(logging.Handler):
    """Keeps what a run says of its copies."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()).startswith("augmentation: "):
            self.found.append(message.removeprefix("augmentation: "))


def run(arm: str, rows: int, seed: int, options: argparse.Namespace) -> dict:
    """Make one row of the table."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    remarks = Remarks()
    logging.getLogger("electra_plus").addHandler(remarks)
    folder = folder_of(options, arm, rows, seed)
    settings = FineTuningSettings(
        options.model, str(options.work / f"train-{rows}-{seed}.jsonl"), str(folder), task="text-classification",
        validation_file=str(options.work / "sentences.jsonl"), test_file=str(options.work / "phrases.jsonl"), seeds=[seed],
        augment=arms(options, rows, seed)[arm],
        training={**TRAINING, "learning_rate": options.learning_rate, "max_steps": STEPS[rows]},
    )  # fmt: skip
    found = finetune(settings, restart=True)["runs"][str(seed)]
    if arm != "none":
        shutil.rmtree(folder)
    return {
        "sentences": found["validation"]["accuracy"],
        "phrases": found["test"]["accuracy"],
        "seconds": found["seconds"],
        **counted(" ".join(remarks.found)),
    }


def counted(remark: str) -> dict[str, int]:
    """
    Return the copies that were trained on and those left out.

    >>> counted("1,180 changed copies; 5 left out, to whose label folder gives less than 0.5")
    {'copies': 1180, 'left_out': 5}
    """
    named = {"copies": r"([\d,]+) changed copies", "left_out": r"([\d,]+) left out"}
    numbers = {name: re.search(pattern, remark) for name, pattern in named.items()}
    return {name: int(match[1].replace(",", "")) if match else 0 for name, match in numbers.items()}


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    names = list(arms(argparse.Namespace(masked_lm="", work=Path()), 0, 0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="BERT or ELECTRA, folder or Hub name")
    parser.add_argument("--name", required=True, help="what the table calls it")
    parser.add_argument("--masked-lm", required=True, help="folder or Hub name of a masked LM or a joint checkpoint")
    parser.add_argument("--train", required=True, help="rows with sentence and label")
    parser.add_argument("--validation", required=True)
    parser.add_argument("--work", type=Path, default=Path("augmentation"), help="rows, lists, models (%(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", choices=STEPS, default=list(STEPS), help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: %(default)s)")
    parser.add_argument("--arms", nargs="+", choices=names, default=names, help="(default: all)")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="(default: %(default)s)")
    parser.add_argument("--result", default="augmentation", help="name of the result file (default: %(default)s)")
    parser.add_argument("--one", nargs=3, metavar=("ARM", "ROWS", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one[0], int(options.one[1]), int(options.one[2]), options)))
        return
    prepare(options)
    settings = {
        "model": options.name, "steps": {str(rows): steps for rows, steps in STEPS.items()}, "batch_size": 16,
        "learning_rate": options.learning_rate, "test_phrases": NUM_TEST_PHRASES, "keep_sure": KEEP_SURE,
    }  # fmt: skip
    wanted = [
        {"arm": arm, "rows": rows, "seed": seed}
        for seed in options.seeds
        for rows in options.rows
        for arm in options.arms
    ]
    measured_rows(options.result, settings, wanted)


if __name__ == "__main__":
    main()
