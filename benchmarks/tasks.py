"""
What does every fine-tuning recipe reach, and how fast, beside stock classes in the stock `Trainer`?

For each recipe, on the same rows, epochs, batches, warm-up and length:

- `electra_plus`: `electra-plus finetune --recipe` as it is, in bfloat16 where the processor is fast at it; `float32` without.
- `stock`: transformers' BERT (of MiniLM) or ELECTRA (of our small checkpoints, converted) with the same weights, in `Trainer` as it
  comes: float32, padded batches in random order, one rate for all layers, the best of a few (`STOCK_RATE`). Tokens, windows and scoring
  are ours in both.

Each evaluates and saves after each epoch and scores the best. Seconds are of the process's processor time from rows in memory to that
score, on one thread, so that other work on the machine counts little; tokens a second are those trained on in these seconds.
`more rows` are the recipes on as many rows as some minutes take, ours alone.

    python benchmarks/tasks.py --data DATA --minilm MINILM --english SMALL_EN --chinese SMALL_ZH --bilingual TOKENIZER_EN_DE

DATA has a folder for each dataset, such as sst2/train.jsonl.gz. MINILM is the BERT of all-MiniLM-L6-v2; the small checkpoints are those
of gpu_masked_lm.py; TOKENIZER_EN_DE is a folder of `electra-plus prepare --cased` on both languages.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from machine import measured_rows, write_rows

from electra_plus import ElectraPlusConfig, ElectraPlusForMaskedLM
from electra_plus.conversion.stock import to_stock
from electra_plus.data.detokenization import decoded
from electra_plus.data.examples import read_examples
from electra_plus.recipes.evaluation.loading import read_config, read_tokenizer
from electra_plus.recipes.finetuning import FineTuningSettings, default_training, finetune, prepared_task
from electra_plus.recipes.settings import load_settings, recipe_file
from electra_plus.recipes.task_data import limited, read_task_data
from electra_plus.recipes.tasks.task import row_length

EVALUATION_ROWS = 32  # of a batch, in the stock arm
STOCK_RATE = {"translation": None, "text-generation": None}  # None: the recipe's, which is one for all layers already
DEFAULT_STOCK_RATE = 1e-4
ARMS = ("electra_plus", "electra_plus, float32", "stock")


@dataclass(frozen=True)
class Case:
    """A recipe with its encoder, rows at most, files of a dataset's folder, and settings that differ."""

    recipe: str
    encoder: str
    train_rows: int | None
    validation_rows: int
    dataset: str = ""
    train: str = "train.jsonl.gz"
    validation: str = "validation.jsonl.gz"
    changes: dict = field(default_factory=dict)
    arms: tuple[str, ...] = ARMS


ALONE = ("electra_plus",)
# of translation, whose recipe has ten epochs
SHORT = {"options": {"num_beams": 1}, "training": {"num_train_epochs": 2}}
SST2 = {"dataset": "sst2", "validation": "validation_first_half.jsonl.gz"}
CLUENER = {"dataset": "cluener", "validation": "validation_first_half.jsonl.gz"}
CMRC = {"dataset": "cmrc2018", "train": "train_from_dev.jsonl.gz", "validation": "validation_trial.jsonl.gz"}
CASES = {
    "sentiment-en": Case("sentiment-en", "minilm", 600, 300, **SST2),
    "topic-zh": Case("topic-zh", "chinese", 800, 300, dataset="thucnews_titles"),
    "ner-en": Case("ner-en", "minilm", 300, 200, dataset="wikiann_en"),
    "translation-en-de": Case("translation-en-de", "bilingual", 500, 40, dataset="multi30k_en_de", changes=SHORT),
    "multiple-choice": Case("multiple-choice", "minilm", 150, 100, dataset="copa"),
    "ner-zh": Case("ner-zh", "chinese", 150, 100, **CLUENER),
    "pairs": Case("pairs", "minilm", 200, 150, dataset="mrpc"),
    "sentiment-zh": Case("sentiment-zh", "chinese", 100, 100, dataset="chnsenticorp"),
    "generation": Case("generation", "minilm", 100, 40, dataset="wikitext2", train="valid.txt.gz", validation=""),
    "qa-en": Case("qa-en", "minilm", 50, 30, dataset="squad_v1.1_dev"),
    "qa-zh": Case("qa-zh", "chinese", 20, 15, **CMRC),
    "translation-classical-modern-zh": Case(
        "translation-classical-modern-zh", "chinese", 300, 30, dataset="classical_modern_zh", validation="",
        changes={**SHORT, "max_length": 64},
    ),
    "sentiment-en, own": Case("sentiment-en", "english", 300, 200, **SST2),
    "ner-en, own": Case("ner-en", "english", 200, 200, dataset="wikiann_en"),
    "sentiment-en, more rows": Case("sentiment-en", "minilm", 20000, 436, **SST2, arms=ALONE),
    "sentiment-zh, more rows": Case("sentiment-zh", "chinese", 1000, 500, dataset="chnsenticorp", arms=ALONE),
    "topic-zh, more rows": Case("topic-zh", "chinese", 5000, 1000, dataset="thucnews_titles", arms=ALONE),
    "pairs, more rows": Case("pairs", "minilm", 2000, 408, dataset="mrpc", arms=ALONE),
    "ner-en, more rows": Case("ner-en", "minilm", None, 1000, dataset="wikiann_en", arms=ALONE),
    "ner-zh, more rows": Case("ner-zh", "chinese", 1500, 400, **CLUENER, arms=ALONE),
    "qa-en, more rows": Case("qa-en", "minilm", 800, 300, dataset="squad_v1.1_dev", arms=ALONE),
    "qa-zh, more rows": Case("qa-zh", "chinese", 150, 100, **CMRC, arms=ALONE),
}  # fmt: skip


def write_case(case: Case, data: Path, folder: Path) -> tuple[Path, Path]:
    """Write the rows of a case, the same for every arm and seed; without a validation file, rows behind the training rows."""
    train = read_examples(str(data / case.dataset / case.train))
    if case.validation:
        validation = limited(read_examples(str(data / case.dataset / case.validation)), case.validation_rows)
        train = limited(train, case.train_rows)
    else:
        both = limited(train, case.train_rows + case.validation_rows)
        train, validation = both[: case.train_rows], both[case.train_rows :]
    files = folder / "train.jsonl", folder / "validation.jsonl"
    for file, rows in zip(files, (train, validation), strict=True):
        write_rows(rows, file)
    return files


def settings_of(case: Case, model: Path, files: tuple[Path, Path], output: Path, seed: int) -> FineTuningSettings:
    """Return the recipe's settings for a case."""
    train, validation = map(str, files)
    given = {
        "model": str(model),
        "train_file": train,
        "validation_file": validation,
        "output_dir": str(output),
        "seeds": [seed],
    }
    quiet = {"disable_tqdm": True, "use_cpu": True}
    changes = {**case.changes, "training": {**case.changes.get("training", {}), **quiet}}
    return load_settings(FineTuningSettings, None, {**given, **changes}, recipe_file(case.recipe, "finetuning"))


def stock_model(task, folder: Path, tokenizer) -> transformers.PreTrainedModel:
    """Return transformers' own class for a task around a checkpoint's weights."""
    fields = task.config_fields()
    if task.name != "translation":
        return getattr(transformers, task.auto_class).from_pretrained(folder, **fields)
    encoder = transformers.AutoModel.from_pretrained(folder)
    decoder = transformers.AutoModelForCausalLM.from_pretrained(folder, is_decoder=True, add_cross_attention=True)
    model = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = tokenizer.cls_token_id
        config.eos_token_id = tokenizer.sep_token_id
        config.pad_token_id = tokenizer.pad_token_id
    return model


class StockTrainer(transformers.Trainer):
    """The stock trainer, whose evaluation scores what the task wants instead of the loss alone."""

    def evaluate(self, *args, **kwargs):
        metrics = self.score(self.model)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@torch.no_grad()
def stock_scores(task, model, tokenizer, examples, encoded) -> dict[str, float]:
    """Score in batches in the rows' order, as `Trainer.evaluate` does; translations are written by `generate`."""
    model.eval()
    found, loss = [], 0.0
    for start in range(0, len(encoded.rows), EVALUATION_ROWS):
        rows = encoded.rows[start : start + EVALUATION_ROWS]
        batch = task.pad(rows, tokenizer.pad_token_id)
        outputs = model(**batch)
        loss += outputs.loss.item() * len(rows) / len(encoded.rows)
        if task.name == "translation":
            ids = model.generate(
                batch["input_ids"],
                attention_mask=batch["attention_mask"],
                num_beams=task.num_beams,
                max_new_tokens=task.max_length,
            )
            found += [{"prediction": decoded(tokenizer, one)} for one in ids]
        else:
            found += list(task.scores_of(outputs).float().numpy())
    if (by_loss := task.judge_loss(loss)) is not None:
        return {**by_loss, "loss": loss}
    predictions = found if task.name == "translation" else task.decode(found, encoded, examples)
    return {**task.judge(predictions, examples), "loss": loss}


def prepared(settings: FineTuningSettings) -> tuple:
    """Return what both arms work with: rows, tokenizer, task, and the training arguments of the recipe."""
    data = read_task_data(settings.train_file, settings.validation_file, task=settings.task)
    config = read_config(settings.model)
    tokenizer = read_tokenizer(settings.model, config)
    task = prepared_task(settings, data, config, tokenizer)
    return data, tokenizer, task, {**default_training(settings, task, config), **settings.training}


def stock(settings: FineTuningSettings, folder: Path) -> dict:
    """Fine-tune the stock class in the stock trainer; return the figures of a row."""
    data, tokenizer, task, recipe = prepared(settings)
    started = time.process_time()
    transformers.set_seed(settings.seeds[0])
    train, validation = (task.encode(split.examples, tokenizer) for split in (data.train, data.validation))
    rate = STOCK_RATE.get(task.name, DEFAULT_STOCK_RATE) or recipe["learning_rate"]
    same = ("per_device_train_batch_size", "num_train_epochs", "warmup_steps", "weight_decay", "max_grad_norm", "seed")
    metric = settings.metric or task.metrics[0]
    trainer = StockTrainer(
        stock_model(task, folder, tokenizer),
        transformers.TrainingArguments(
            settings.output_dir, learning_rate=rate, **{name: recipe[name] for name in same}, eval_strategy="epoch",
            save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True, metric_for_best_model=f"eval_{metric}",
            greater_is_better=metric != "perplexity", report_to="none", disable_tqdm=True, use_cpu=True, remove_unused_columns=False,
            dataloader_pin_memory=False, logging_strategy="no",
        ),
        train_dataset=train.rows,
        eval_dataset=validation.rows,
        data_collator=lambda rows: task.pad(rows, tokenizer.pad_token_id),
    )  # fmt: skip
    trainer.score = lambda model: {
        f"eval_{name}": score
        for name, score in stock_scores(task, model, tokenizer, data.validation.examples, validation).items()
    }
    trainer.pop_callback(transformers.PrinterCallback)
    trainer.train()
    scores = {name.removeprefix("eval_"): score for name, score in trainer.score(trainer.model).items()}
    return {
        "metric": metric,
        "score": scores[metric],
        "scores": scores,
        **_speed(task, train.rows, trainer.args.num_train_epochs, started),
    }


def _speed(task, rows: list[dict], epochs: float, started: float) -> dict[str, float]:
    seconds = time.process_time() - started
    tokens = epochs * sum(row_length(row) + (len(row["labels"]) if task.name == "translation" else 0) for row in rows)
    return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}


def ours(settings: FineTuningSettings) -> dict:
    """Run the recipe; return the figures of a row."""
    data, tokenizer, task, recipe = prepared(settings)
    rows = task.encode(data.train.examples, tokenizer).rows
    started = time.process_time()
    figures = finetune(settings)
    metric = figures["metric"]
    return {
        "metric": metric, "score": figures["validation"][metric]["mean"], "scores": {name: of["mean"] for name, of in figures["validation"].items()},
        **_speed(task, rows, recipe["num_train_epochs"], started),
    }  # fmt: skip


def run(name: str, arm: str, seed: int, options: argparse.Namespace) -> dict:
    """Measure one row."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    case = CASES[name]
    with tempfile.TemporaryDirectory() as work:
        files = write_case(case, options.data, Path(work))
        num_rows = files[0].read_text(encoding="utf-8").count("\n")
        of_case = {"encoder": case.encoder, "dataset": case.dataset, "num_rows": num_rows}
        settings = settings_of(case, encoder_folder(case.encoder, options), files, Path(work, "run"), seed)
        if arm == "stock":
            folder = Path(settings.model) if case.encoder == "minilm" else Path(work, "stock")
            if case.encoder != "minilm":
                to_stock(settings.model, folder)
            return of_case | stock(settings, folder)
        if arm.endswith("float32"):
            settings.dtype = "float32"
        return of_case | ours(settings)


def encoder_folder(name: str, options: argparse.Namespace) -> Path:
    """Return the checkpoint; for translation a classic one of three layers with random weights, made once."""
    if name != "bilingual":
        return getattr(options, name)
    folder = options.work / "bilingual"
    if not (folder / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(options.bilingual)
        transformers.set_seed(0)
        config = ElectraPlusConfig.preset(
            "small",
            num_hidden_layers=3,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            generator_config=None,
        )
        ElectraPlusForMaskedLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of datasets")
    for name in ("minilm", "english", "chinese"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder of this encoder")
    parser.add_argument("--bilingual", type=Path, required=True, help="folder of a tokenizer of English and German")
    parser.add_argument("--work", type=Path, default=Path("tasks"), help="for what is made once (default: %(default)s)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--jobs", type=int, default=1, help="rows measured at a time (default: %(default)s)")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, arm, seed, _ = options.one
        print(json.dumps(run(name, arm, int(seed), options)))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    encoder_folder("bilingual", options)
    wanted = [
        {"case": name, "arm": arm, "seed": seed, "train_rows": CASES[name].train_rows or 0}
        for seed in options.seeds  # every case once, then again
        for name in options.cases
        for arm in CASES[name].arms
        if seed == options.seeds[0] or not arm.endswith("float32")  # what the precision changes is seen in one
    ]
    measured_rows("tasks", {"stock_rate": DEFAULT_STOCK_RATE}, wanted, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
