"""Fine-tuning for every task of the table, over one seed or several: settings, defaults, and the folder that comes of it."""

import json
import logging
import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.folders import refuse_file
from electra_plus.hub.carried_code import carry_code
from electra_plus.recipes.augmenting import make_augmentation
from electra_plus.recipes.evaluation.loading import MODEL_TYPES, fingerprint, longest_input, read_config, read_tokenizer
from electra_plus.recipes.evaluation.report import table, versions, write_json
from electra_plus.recipes.model_card import write_model_card
from electra_plus.recipes.pretraining import takes_bfloat16
from electra_plus.recipes.settings import keep_settings, same_run, training_arguments
from electra_plus.recipes.task_data import TaskData, read_task_data
from electra_plus.recipes.tasks import Task, make_task, task_class
from electra_plus.recipes.tasks.task import LOWER_IS_BETTER, Encoded

logger = logging.getLogger(__name__)

SETTINGS_FILE = "finetuning.json"  # what a run was started with
METRICS_FILE = "metrics.json"  # written last: a folder that has it is finished
PREDICTIONS_FILE = "predictions.jsonl"

# ELECTRA's fine-tuning (paper, table 7; google-research/electra, configure_finetuning.py), with AdamW as torch has it and a
# schedule that warms up first and decays afterwards. The paper has no choice of the best epoch.
DEFAULT_TRAINING = {
    "per_device_train_batch_size": 32,
    "num_train_epochs": 3,
    "warmup_steps": 0.1,
    "weight_decay": 0.0,
    "adam_epsilon": 1e-6,
    "max_grad_norm": 1.0,
    "logging_steps": 50,
    "save_total_limit": 1,  # and the best one besides
    "report_to": "none",
}
# hidden size up to which a model is of this kind: learning rate and its decay from layer to layer
SIZES = (
    (512, {"learning_rate": 3e-4, "layerwise_lr_decay": 0.8}),
    (768, {"learning_rate": 1e-4, "layerwise_lr_decay": 0.8}),
    (10**9, {"learning_rate": 5e-5, "layerwise_lr_decay": 0.9}),
)
# What the released code does otherwise than the paper says.
AS_RELEASED = {
    "optim": "original",  # Adam without bias correction
    "lr_scheduler_type": "original",  # warms up and decays at once
    "layerwise_lr_decay_as_released": True,  # one factor more
    "weight_decay": 0.01,
}
RELEASED_RATE = 1e-4  # of small models as well
# What a run that goes on may change without changing the result; all but the first are of `training`.
WITHOUT_EFFECT = {
    "carry_code", "dataloader_num_workers", "dataloader_pin_memory", "disable_tqdm", "logging_first_step", "logging_steps", "logging_strategy",
    "log_level", "report_to", "run_name",
}  # fmt: skip


@dataclass
class FineTuningSettings:
    """
    What `electra-plus finetune` needs to know.

    Args:
        model (`str`): Folder or Hub name of a checkpoint: ElectraPlus (joint or not), stock ELECTRA or stock BERT.
        train_file (`str`): A file, a folder with a file for each split, or a dataset of the Hub; see [`read_examples`].
        output_dir (`str`): Where the model goes, with tokenizer, card, `metrics.json` and `predictions.jsonl`.
        task (`str`, *optional*): Key of [`electra_plus.recipes.tasks.TASKS`]. `None` guesses by the columns and says so.
        validation_file (`str`, *optional*):
            For the choice of the best epoch and the scores: the same kinds, or the name of a split. `None` takes the split of that
            name, else a tenth of the rows, drawn at random.
        test_file (`str`, *optional*): Scored at the end, with the best epoch.
        dataset_config (`str`, *optional*): Of a dataset of the Hub that has several.
        columns (`str` or `dict`, *optional*): Fields and columns, such as `text=review,label=stars`. Others are guessed.
        max_length (`int`, *optional*): Tokens of a row. `None` takes the task's, or what the model can read if that is less.
        options (`dict`, *optional*): Of the task, such as `stride: 64`.
        model_fields (`dict`, *optional*): Fields of the configuration to change, such as `classifier_pooling: mean`.
        seeds (`list[int]`, *optional*, defaults to `[0]`): A run each, of the new head, the order and dropout.
        limit (`int`, *optional*): Rows of each split at most, drawn at random, for a quick look.
        metric (`str`, *optional*): What the best epoch and the best seed are chosen by. `None` takes the task's.
        early_stopping (`int`, *optional*): Evaluations without a better one after which a run stops. `None` goes to the end.
        class_weights (`list`, *optional*): `balanced`, or a number for each class. `None` weighs every row alike.
        swap_pairs (`bool`, *optional*, defaults to `False`):
            Train on each pair in both orders, as the released code does with MRPC and STS-B.
        augment (`dict`, *optional*):
            Train on changed copies too, such as `{how: swap, copies: 2}`, or on mixed sentence vectors, `{mixup: 0.4}`; see
            [`electra_plus.recipes.augmenting.Augmentation`].
        as_released (`bool`, *optional*, defaults to `False`): Optimize as the released code does, which differs from the paper.
        convert_tags (`bool`, *optional*, defaults to `False`): Convert tags of other schemes to IOB2.
        dtype (`str`, *optional*):
            `"bfloat16"` (autocast; weights and optimizer stay in float32) or `"float32"`. `None` takes bfloat16 where the
            device is fast at it.
        carry_code (`bool`, *optional*, defaults to `False`):
            Put the code of the model, and of a pipeline of ours for the task, into the folder, which then opens without this
            package; see [`~electra_plus.hub.carry_code`].
        training (`dict`, *optional*): Arguments of [`ElectraPlusTrainingArguments`] under their own names.
    """

    model: str
    train_file: str
    output_dir: str
    task: str | None = None
    validation_file: str | None = None
    test_file: str | None = None
    dataset_config: str | None = None
    columns: str | dict | None = None
    max_length: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    model_fields: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    limit: int | None = None
    metric: str | None = None
    early_stopping: int | None = None
    class_weights: list | None = None
    swap_pairs: bool = False
    augment: dict[str, Any] | None = None
    as_released: bool = False
    convert_tags: bool = False
    dtype: str | None = None
    carry_code: bool = False
    training: dict[str, Any] = field(default_factory=dict)


def finetune(settings: FineTuningSettings, restart: bool = False) -> dict[str, Any]:
    """
    Fine-tune a model with every seed, score it, and leave the best seed's model in `output_dir`, ready for every pipeline.

    One seed is run in `output_dir` itself, several in `output_dir/seed-N`. Started again with the same settings, seeds that are
    finished are not run again, and the others go on from their last checkpoint and end as if they had never been interrupted.

    Args:
        settings ([`FineTuningSettings`]): The run.
        restart (`bool`, *optional*, defaults to `False`): Forget what is there of an earlier run in `output_dir`.

    Returns:
        `dict`: what `metrics.json` holds: `task`, `metric`, `validation` and `test` (`mean` and `std` over seeds of each metric),
        `runs` (the scores of each seed), `best_seed`, and what they were made from.

    Raises:
        FileNotFoundError, ValueError: Settings, data or the model are wrong, which is said before anything is trained; or
            `output_dir` holds a run with other settings.
    """
    from electra_plus.recipes.finetuning_run import run_seed
    from electra_plus.training.arguments import ElectraPlusTrainingArguments

    refuse_file(settings.output_dir)
    augment = make_augmentation(settings.augment) if settings.augment is not None else None
    if (num_processes := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        raise ValueError(
            f"Fine-tuning runs in one process, got `WORLD_SIZE` {num_processes}. Start it without torchrun."
        )
    settings = _with_precision(settings)
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise ValueError(f"`seeds` must be one or more different numbers, got {settings.seeds}.")
    if settings.early_stopping is not None and settings.early_stopping < 1:
        raise ValueError(f"`early_stopping` must be at least 1 evaluation, got {settings.early_stopping}.")
    data = read_task_data(
        settings.train_file, settings.validation_file, settings.test_file, settings.task, settings.columns,
        settings.dataset_config, settings.limit, settings.convert_tags,
    )  # fmt: skip
    config = read_config(settings.model)
    if config.model_type not in MODEL_TYPES:
        raise ValueError(
            f"`--model {settings.model}` has model type {config.model_type!r}, and {list(MODEL_TYPES)} can be fine-tuned here."
        )
    tokenizer = read_tokenizer(settings.model, config)
    task = prepared_task(settings, data, config, tokenizer)
    if augment is not None:
        augment.check(task)
    output_dir = Path(settings.output_dir)
    if output_dir.resolve() == Path(settings.model).resolve():
        raise ValueError(f"`--output {output_dir}` is the model to start from. Give another folder.")
    folders = {seed: output_dir if len(settings.seeds) == 1 else output_dir / f"seed-{seed}" for seed in settings.seeds}
    inputs = {"data": data.fingerprint(), "weights": fingerprint(settings.model)}
    if not restart:
        for seed, folder in folders.items():
            _refuse_other_run(replace(settings, seeds=[seed]), folder, inputs)
    if augment is not None:
        data.train.examples, remark = augment(data.train.examples)
        logger.warning("augmentation: %s", remark)
    encoded = _encoded(settings, task, data, tokenizer)
    # what is wrong with the arguments is told before the first seed
    defaults = default_training(settings, task, config)
    training_arguments(ElectraPlusTrainingArguments, str(output_dir), defaults, settings.training)
    if settings.class_weights is not None:
        weights = task.class_weights(settings.class_weights, encoded["train"].rows).tolist()
        named = (f"{name} {weight:.3g}" for name, weight in zip(task.names, weights, strict=True))
        logger.warning("class weights: %s", ", ".join(named))

    runs = {}
    for seed, folder in folders.items():
        if restart:
            _forget(folder)
        if (folder / METRICS_FILE).is_file():
            logger.warning("seed %s: finished before, in %s", seed, folder)
        else:
            one = replace(settings, seeds=[seed])
            keep_settings(one, folder / SETTINGS_FILE, inputs)
            run = run_seed(one, task, data, encoded, tokenizer, folder)
            finish_folder(folder, task, summary(one, task, data, {str(seed): run}))
        runs[str(seed)] = _read_run(folder, seed)
    figures = summary(settings, task, data, runs)
    if len(folders) > 1:
        _copy_model(folders[figures["best_seed"]], output_dir)
        finish_folder(output_dir, task, figures)
    if settings.carry_code:  # a run that was finished without it gets it too
        carry_code(output_dir, task.own_pipeline)
        write_model_card(output_dir, figures)
    return figures


def _encoded(
    settings: FineTuningSettings, task: Task, data: TaskData, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Encoded]:
    """Return the rows of each split for the model, once for all seeds, and say what was cut."""
    found = {}
    for name in ("train", "validation", "test"):
        if (split := getattr(data, name)) is not None:
            swaps = name == "train" and settings.swap_pairs
            found[name] = task.encode(with_swapped_pairs(split.examples) if swaps else split.examples, tokenizer)
            for remark in found[name].remarks:
                logger.warning("%s: %s", name, remark)
    return found


def _copy_model(source: Path, output_dir: Path) -> None:
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name not in (METRICS_FILE, SETTINGS_FILE):
            aside = output_dir / f".{file.name}.new"
            shutil.copy2(file, aside)
            aside.replace(output_dir / file.name)


def _with_precision(settings: FineTuningSettings) -> FineTuningSettings:
    """Return the settings with what `dtype` means here, to be kept with the run: a machine that goes on otherwise is told so."""
    import torch

    use_cpu = settings.training.get("use_cpu", not torch.accelerator.is_available())
    bfloat16 = takes_bfloat16(settings.dtype, use_cpu)
    if settings.dtype is not None and "bf16" in settings.training:
        raise ValueError("`dtype` and `training: {bf16: ...}` say the same. Give one.")
    training = {**settings.training, "use_cpu": use_cpu}  # transformers wants to be told, for bfloat16
    if not {"bf16", "fp16"} & set(settings.training):
        training["bf16"] = bfloat16
    return replace(settings, training=training)


def prepared_task(
    settings: FineTuningSettings, data: TaskData, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> Task:
    """Return the task with its options, its labels and its length; labels of all splits are checked."""
    task = make_task(task_class(data.task), settings.options)
    longest = longest_input(tokenizer, config)
    if settings.max_length is not None:
        if not 8 <= settings.max_length <= longest:
            raise ValueError(
                f"`max_length` must be from 8 to {longest} tokens for {settings.model}, got {settings.max_length}."
            )
        task.max_length = settings.max_length
    task.max_length = task.max_length or min(task.default_length, longest)
    everything = data.train.examples + (data.validation.examples if data.held_out else [])
    task.learn(everything)
    for split in (data.train, data.validation, data.test):
        if split is not None:
            task.check(split.examples)
    if settings.metric is not None and settings.metric not in (*task.metrics, "loss"):
        raise ValueError(f"`metric` must be one of {[*task.metrics, 'loss']} for {task.name}, got {settings.metric!r}.")
    return task


def with_swapped_pairs(examples: Sequence[Row]) -> list[Row]:
    """Return the examples, and all of them once more with their texts swapped."""
    if "text_pair" not in examples[0]:
        raise ValueError(f"`swap_pairs` needs pairs of texts, got the fields {list(examples[0])}. Leave it out.")
    swapped = [
        Row({**example, "text": example["text_pair"], "text_pair": example["text"]}, example.where, example.class_names)
        for example in examples
    ]
    return [*examples, *swapped]


def default_training(settings: FineTuningSettings, task: Task, config: PretrainedConfig) -> dict[str, Any]:
    """Return the training arguments where the user gave none."""
    sizes = next(values for size, values in SIZES if config.hidden_size <= size)
    defaults = {**DEFAULT_TRAINING, **sizes, **task.training, "seed": settings.seeds[0]}
    if settings.as_released:
        defaults |= {**AS_RELEASED, "learning_rate": min(sizes["learning_rate"], RELEASED_RATE)}
    given = settings.training
    evaluates = given.get("eval_strategy", "epoch")
    saves = given.get("save_strategy", "epoch" if evaluates == "no" else evaluates)
    defaults |= {"eval_strategy": evaluates, "save_strategy": saves}
    if evaluates == "steps" and "eval_steps" in given:
        defaults["save_steps"] = given["eval_steps"]
    defaults["load_best_model_at_end"] = "no" not in (evaluates, saves)
    if settings.early_stopping is not None and not defaults["load_best_model_at_end"]:
        raise ValueError(
            "`early_stopping` needs evaluations and checkpoints, got `eval_strategy` or `save_strategy` no."
        )
    return defaults


def finish_folder(folder: Path, task: Task, figures: dict[str, Any]) -> None:
    """Write the card, then the figures, which say that all is there; checkpoints are no longer needed."""
    write_model_card(folder, figures)
    write_json(figures, folder / METRICS_FILE)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def summary(settings: FineTuningSettings, task: Task, data: TaskData, runs: dict[str, dict]) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    metric = settings.metric or task.metrics[0]
    choose = min if metric in LOWER_IS_BETTER else max
    best = choose(runs, key=lambda seed: runs[seed]["validation"][metric])
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    splits = {name: split for name, split in splits.items() if split is not None}
    return {
        "task": task.name,
        "metric": metric,
        "best_seed": int(best),
        **{name: _spread([run[name] for run in runs.values()]) for name in splits if name != "train"},
        "runs": runs,
        "model": settings.model,
        "data": {name: split.source for name, split in splits.items()},
        "rows": {name: len(split.rows) for name, split in splits.items()},
        "columns": data.columns,
        "labels": list(task.names) if task.config_fields().get("id2label") else [],
        "options": task.options(),
        "versions": versions(),
    }


def _spread(scores: Sequence[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return the mean of each metric and its deviation over seeds, `None` for one seed."""
    found = {}
    for name in scores[0]:
        values = [score[name] for score in scores]
        if all(value is not None for value in values):
            found[name] = {
                "mean": statistics.mean(values),
                "std": statistics.stdev(values) if len(values) > 1 else None,
            }
    return found


def figures_table(figures: dict[str, Any]) -> str:
    """Return the scores for the terminal: a row for each metric of each split, a column for each seed, mean and deviation."""
    seeds = list(figures["runs"])
    rows = []
    for split in ("validation", "test"):
        for name, score in figures.get(split, {}).items():
            values = [f"{figures['runs'][seed][split][name]:.4f}" for seed in seeds]
            several = [f"{score['mean']:.4f}", f"{score['std']:.4f}"] if len(seeds) > 1 else []
            rows.append((f"{split} {name}", *values, *several))
    return table(("", *(f"seed {seed}" for seed in seeds), *(("mean", "std") if len(seeds) > 1 else ())), rows)


def _refuse_other_run(settings: FineTuningSettings, folder: Path, inputs: dict[str, str]) -> None:
    begun = (folder / METRICS_FILE).is_file() or any(folder.glob("checkpoint-*"))
    if not begun or (same := same_run(settings, folder / SETTINGS_FILE, WITHOUT_EFFECT, inputs)) is True:
        return
    raise ValueError(
        f"`--output {folder}` holds a run with other {same}. Give another folder, or `--restart` to delete that run and begin "
        "anew."
    )


def _forget(folder: Path) -> None:
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    for name in (METRICS_FILE, SETTINGS_FILE):
        (folder / name).unlink(missing_ok=True)


def _read_run(folder: Path, seed: int) -> dict[str, Any]:
    return json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))["runs"][str(seed)]
