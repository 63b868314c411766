"""
How long fine-tuning takes and what it reaches: the stock `Trainer` with stock classes, padding and float32, and `electra-plus finetune`.

    python benchmarks/finetuning.py --model MODEL --train train.jsonl --validation validation.jsonl

Both take the same rows, batches of 32, epochs, learning rate (the same for all layers) and schedule, evaluate and save after each epoch, and
score the best epoch. The seconds are from rows in memory to that score: tokenising, training, evaluations, checkpoints.
Rounds are interleaved, one seed each.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
import transformers
from machine import save_result, write_rows

from electra_plus.data.examples import read_examples
from electra_plus.recipes.finetuning import FineTuningSettings, finetune
from electra_plus.recipes.task_data import limited

TRAINING = {"num_train_epochs": 2, "per_device_train_batch_size": 32, "learning_rate": 1e-4, "warmup_steps": 0.1, "weight_decay": 0.0,
            "report_to": "none", "disable_tqdm": True, "use_cpu": True}  # fmt: skip
MAX_LENGTH = 128


def stock(model: str, train: list[dict], validation: list[dict], seed: int, bf16: bool) -> float:
    """Fine-tune as the examples of transformers do; return the best accuracy."""
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)

    def encode(rows: list[dict]) -> list[dict]:
        encoded = tokenizer([row["sentence"] for row in rows], truncation=True, max_length=MAX_LENGTH)
        return [{**{name: encoded[name][i] for name in encoded}, "labels": row["label"]} for i, row in enumerate(rows)]

    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            network,
            transformers.TrainingArguments(
                folder, **TRAINING, bf16=bf16, seed=seed, eval_strategy="epoch", save_strategy="epoch", save_total_limit=1,
                load_best_model_at_end=True, metric_for_best_model="accuracy", per_device_eval_batch_size=32,
                dataloader_pin_memory=False,
            ),
            train_dataset=encode(train),
            eval_dataset=encode(validation),
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
        )  # fmt: skip
        trainer.pop_callback(transformers.PrinterCallback)
        trainer.train()
        return trainer.evaluate()["eval_accuracy"]


def ours(model: str, train: Path, validation: Path, seed: int, dtype: str) -> float:
    """The same by the recipe."""
    with tempfile.TemporaryDirectory() as folder:
        settings = FineTuningSettings(
            model, str(train), folder, validation_file=str(validation), task="text-classification", max_length=MAX_LENGTH,
            seeds=[seed], dtype=dtype, training={**TRAINING, "layerwise_lr_decay": 1.0},
        )  # fmt: skip
        return finetune(settings)["validation"]["accuracy"]["mean"]


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="BERT or ELECTRA, folder or Hub name")
    parser.add_argument("--name", required=True, help="what the table calls it")
    parser.add_argument("--train", required=True, help="rows with sentence and label")
    parser.add_argument("--validation", required=True)
    parser.add_argument("--limit", type=int, default=1500, help="training rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    train, validation = limited(read_examples(given.train), given.limit), read_examples(given.validation)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("train.jsonl", "validation.jsonl")]
        for file, rows in zip(files, (train, validation), strict=True):
            write_rows(rows, file)
        arms = {
            "stock": lambda seed: stock(given.model, train, validation, seed, bf16=False),
            "stock, bfloat16": lambda seed: stock(given.model, train, validation, seed, bf16=True),
            "electra_plus": lambda seed: ours(given.model, *files, seed, "float32"),
            "electra_plus, bfloat16": lambda seed: ours(given.model, *files, seed, "bfloat16"),
        }
        found = {name: {"seconds": [], "accuracy": []} for name in arms}
        for seed in range(given.rounds):
            for name, run in arms.items():
                started = time.perf_counter()
                accuracy = run(seed)
                found[name]["seconds"].append(time.perf_counter() - started)
                found[name]["accuracy"].append(accuracy)
                print(seed, name, f"{found[name]['seconds'][-1]:.1f} s, accuracy {accuracy:.4f}", flush=True)
    sizes = {
        "model": given.name,
        "train_rows": len(train),
        "validation_rows": len(validation),
        "epochs": TRAINING["num_train_epochs"],
    }
    save_result("finetuning", {**sizes, "rounds": given.rounds, "arms": found})


if __name__ == "__main__":
    main()
