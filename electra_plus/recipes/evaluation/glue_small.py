"""
A small fine-tuning suite: five tasks of GLUE that take minutes each, over several seeds.

How it departs from ELECTRA's fine-tuning: no copies of MRPC and STS-B with their sentences swapped, the head that the config
names, SST-2 cut to its first rows, and STS-B's numbers are standardised for training, which leaves their ranks and so the
score alone.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from electra_plus.data.example_files import Row
from electra_plus.data.task_examples import task_examples
from electra_plus.recipes.evaluation.glue_tasks import TASKS, Task, read_task
from electra_plus.recipes.evaluation.loading import (
    MODEL_TYPES,
    longest_input,
    quiet,
    read_config,
    read_tokenizer,
    refuse_new_encoder,
)
from electra_plus.recipes.evaluation.report import table
from electra_plus.recipes.settings import training_arguments
from electra_plus.recipes.tasks.classification import Classification, Regression


@dataclass
class GlueSmallSettings:
    """
    What the suite `glue-small` can be told.

    Args:
        tasks (`list[str]`, *optional*): Names in [`TASKS`]. All by default.
        seeds (`list[int]`, *optional*, defaults to `[0, 1, 2]`): One fine-tuning each: head, order and dropout.
        limit (`int`, *optional*): Training rows of each task, from the start, for a quick look. `None` takes all.
        epochs (`float`, *optional*): Passes over the training rows. `None` takes the task's own, 3 or 10.
        learning_rate (`float`, *optional*, defaults to 3e-4): Of small models; the paper has 1e-4 for base.
        layerwise_lr_decay (`float`, *optional*, defaults to 0.8): Factor of the rate from layer to layer, in (0, 1]; 1 for none.
        batch_size (`int`, *optional*, defaults to 32): Rows in a batch.
        max_length (`int`, *optional*, defaults to 128): Longer texts are cut, in tokens.
        group_by_length (`bool`, *optional*, defaults to `False`):
            Put texts of like length into a batch, which saves a quarter of the time on a CPU but draws batches less freely.
    """

    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    limit: int | None = None
    epochs: float | None = None
    learning_rate: float = 3e-4
    layerwise_lr_decay: float = 0.8
    batch_size: int = 32
    max_length: int = 128
    group_by_length: bool = False


def glue_small(
    model: str,
    data: Sequence[str],
    settings: GlueSmallSettings,
    finished: dict[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    r"""
    Fine-tune a checkpoint on every task with every seed, and score the validation rows after the last epoch.

    Args:
        model (`str`): Folder or Hub name that [`ElectraPlusForSequenceClassification`] opens.
        data (`Sequence[str]`): One folder that holds a folder for each task; see [`rows_of_split`].
        settings ([`GlueSmallSettings`]): The rest.
        finished (`dict`, *optional*): Figures of an earlier call: what stands in its `runs` is not run again.
        save (`Callable`, *optional*): Gets the figures so far after every run.

    Returns:
        `dict`: `runs` (`"cola/0"`, task and seed, to metrics), `tasks` (for each finished task: `metric`, `mean`, `std` over
        seeds, `None` for one, and `seeds`), `constants` (metrics of a classifier that always gives the most frequent training
        label: what a score has to beat) and `mean` (over tasks, of the metric that counts).

    Raises:
        FileNotFoundError, ValueError: Data are missing or wrong; said before anything is trained.
    """
    if len(data) != 1 or not Path(data[0]).is_dir():
        raise FileNotFoundError(
            f"`--data` must be one folder with {', '.join(settings.tasks)} in it, got {list(data)}."
        )
    unknown = sorted(set(settings.tasks) - set(TASKS))
    if unknown:
        raise ValueError(f"`--tasks` has {unknown}, which the suite does not know. Choose among {list(TASKS)}.")
    rows = {name: read_task(data[0], TASKS[name], settings.limit) for name in settings.tasks}
    runs = dict(finished["runs"]) if finished else {}
    constants = dict(finished["constants"]) if finished else {}
    constants |= {name: constant_scores(TASKS[name], *rows[name]) for name in settings.tasks}
    missing = [(name, seed) for name in settings.tasks for seed in settings.seeds if f"{name}/{seed}" not in runs]
    # the bar counts rows, not runs: tasks differ much in size
    lengths = {name: round(len(rows[name][0]) * (settings.epochs or TASKS[name].epochs)) for name, _ in missing}
    with tqdm(total=sum(lengths[name] for name, _ in missing), unit="row", unit_scale=True) as bar:
        for name, seed in missing:
            bar.set_description(f"{name}, seed {seed}")
            runs[f"{name}/{seed}"] = finetune_once(model, TASKS[name], rows[name], settings, seed, bar)
            tqdm.write(
                f"{name}, seed {seed}: "
                + ", ".join(f"{metric} {score:.3f}" for metric, score in runs[f"{name}/{seed}"].items())
            )
            if save is not None:
                save(summary(runs, constants))
    return summary(runs, constants)


def finetune_once(
    model: str, task: Task, rows: tuple[list[Row], list[Row]], settings: GlueSmallSettings, seed: int, bar=None
) -> dict[str, float]:
    """
    Fine-tune once and return the task's metrics on the validation rows.

    Args:
        model (`str`): Folder or Hub name.
        task ([`Task`]): What to learn.
        rows (`tuple`): Training and validation rows, as from [`read_task`].
        settings ([`GlueSmallSettings`]): Hyper-parameters.
        seed (`int`): Of head, order and dropout.
        bar (`tqdm`, *optional*): Moves on by the training rows seen.

    Source of the hyper-parameters: Clark et al. 2020, https://arxiv.org/abs/2003.10555, table 7, small models.
    """
    from transformers import DataCollatorWithPadding, PrinterCallback, TrainerCallback, set_seed

    from electra_plus.training.arguments import ElectraPlusTrainingArguments
    from electra_plus.training.trainer import ElectraPlusTrainer

    class Progress(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if bar is not None:
                done = min(state.global_step * args.train_batch_size, round(state.epoch * len(rows[0])))
                bar.update(done - self.done)
                self.done = done

        done = 0

    set_seed(seed)
    tokenizer, classifier = load_classifier(model, task)
    kind = Regression() if task.num_labels == 1 else Classification()
    kind.max_length = min(settings.max_length, longest_input(tokenizer, classifier.config))
    kind.read_config(classifier.config)
    columns = dict(zip(("text", "text_pair"), task.columns, strict=False))
    train, validation = (task_examples(split, kind.name, columns)[0] for split in rows)
    if task.num_labels == 1:
        kind.learn(train)  # what numbers are standardised by

    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            ElectraPlusTrainingArguments,
            folder,
            {
                "per_device_train_batch_size": settings.batch_size,
                "per_device_eval_batch_size": 2 * settings.batch_size,
                "learning_rate": settings.learning_rate,
                "layerwise_lr_decay": settings.layerwise_lr_decay,
                "num_train_epochs": settings.epochs or task.epochs,
                "warmup_steps": 0.1,
                "train_sampling_strategy": "group_by_length" if settings.group_by_length else "random",
                "adam_epsilon": 1e-6,
                "weight_decay": 0.0,
                "logging_strategy": "no",
                "save_strategy": "no",
                "report_to": "none",
                "disable_tqdm": True,
                "seed": seed,
            },
            {},
        )
        trainer = ElectraPlusTrainer(
            model=classifier,
            args=arguments,
            train_dataset=kind.encode(train, tokenizer).rows,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Progress()],
        )
        trainer.pop_callback(PrinterCallback)
        trainer.train()
        # the labels that come along: grouped by length, the rows are read in another order than given
        logits, labels, _ = trainer.predict(kind.encode(validation, tokenizer).rows)
    predictions = logits.squeeze(-1) if task.num_labels == 1 else logits.argmax(axis=-1)
    return {name: metric(predictions, labels) for name, metric in task.metrics.items()}


def load_classifier(model: str, task: Task):
    """
    Return the checkpoint's tokenizer, and its encoder under a new head for the task.

    Raises:
        ValueError: It is of a model type that our classifier cannot read, or lacks weights of the encoder.
    """
    from electra_plus.models.modeling_electra_plus_heads import ElectraPlusForSequenceClassification

    config = read_config(model)
    if config.model_type not in MODEL_TYPES:
        raise ValueError(
            f"`--model {model}` has model type {config.model_type!r}; glue-small needs {list(MODEL_TYPES)}."
        )
    tokenizer = read_tokenizer(model, config)
    kind = "regression" if task.num_labels == 1 else "single_label_classification"
    with quiet():  # the head is new, and meant to be
        classifier, info = ElectraPlusForSequenceClassification.from_pretrained(
            model, num_labels=task.num_labels, problem_type=kind, dtype="float32", output_loading_info=True
        )
    refuse_new_encoder(model, info["missing_keys"], "classifier.")
    return tokenizer, classifier


def constant_scores(task: Task, train: Sequence[dict], validation: Sequence[dict]) -> dict[str, float]:
    """Return the metrics of always answering the most frequent training label."""
    answer = statistics.mode(row["label"] for row in train)
    labels = [row["label"] for row in validation]
    return {name: metric([answer] * len(labels), labels) for name, metric in task.metrics.items()}


def summary(runs: dict[str, dict[str, float]], constants: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return `runs`, the mean and deviation over seeds of every task that has a run, and the mean over these tasks."""
    tasks = {}
    for name, task in TASKS.items():
        seeds = sorted(int(run.partition("/")[2]) for run in runs if run.startswith(f"{name}/"))
        if seeds:
            scores = [runs[f"{name}/{seed}"][task.metric] for seed in seeds]
            spread = statistics.stdev(scores) if len(scores) > 1 else None
            tasks[name] = {"metric": task.metric, "mean": statistics.mean(scores), "std": spread, "seeds": seeds}
    mean = statistics.mean(row["mean"] for row in tasks.values())
    return {"runs": runs, "tasks": tasks, "constants": constants, "mean": mean}


def glue_small_table(figures: dict[str, Any]) -> str:
    """Return the scores as a table: a row a metric, a column a seed, their mean and deviation, and what one label scores."""
    runs = figures["runs"]
    seeds = sorted({int(run.partition("/")[2]) for run in runs})
    rows = []
    for name in figures["tasks"]:
        for metric in TASKS[name].metrics:
            scores = {seed: runs[f"{name}/{seed}"][metric] for seed in seeds if f"{name}/{seed}" in runs}
            spread = f"{statistics.stdev(scores.values()):.3f}" if len(scores) > 1 else ""
            cells = (f"{scores[seed]:.3f}" if seed in scores else "" for seed in seeds)
            constant = f"{figures['constants'][name][metric]:.3f}"
            rows.append((f"{name} {metric}", constant, *cells, f"{statistics.mean(scores.values()):.3f}", spread))
    rows.append(("mean of first metrics", "", *("" for _ in seeds), f"{figures['mean']:.3f}", ""))
    return table(("task", "one label", *(f"seed {seed}" for seed in seeds), "mean", "std"), rows)


def runs_to_keep(earlier: dict[str, Any], now: dict[str, Any], path: str) -> dict[str, Any]:
    """
    Return the figures of an earlier result if its runs are of the same kind; tasks and seeds may be others.

    Args:
        earlier (`dict`): The result in the file.
        now (`dict`): The result to be: `weights`, `data` and `settings` are compared.
        path (`str`): The file, for the error.

    Raises:
        ValueError: The model's weights, the data or a hyper-parameter changed.
    """
    then_and_now = [
        {"weights": result["weights"], "data": result["data"], **result["settings"], "tasks": None, "seeds": None}
        for result in (earlier, now)
    ]
    changed = sorted(name for name in then_and_now[1] if then_and_now[0].get(name) != then_and_now[1][name])
    if changed:
        raise ValueError(
            f"`--output {path}` holds runs with other {' and '.join(changed)}. Give another name, or delete it to begin anew."
        )
    return earlier["figures"]
