"""One fine-tuning: the trainer, what it prints, and the files of its model."""

import copy
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from electra_plus.data.packing import DataCollatorForPacking
from electra_plus.recipes.augmenting import make_augmentation
from electra_plus.recipes.evaluation.loading import quiet, refuse_new_encoder
from electra_plus.recipes.finetuning import PREDICTIONS_FILE, FineTuningSettings, default_training
from electra_plus.recipes.settings import training_arguments
from electra_plus.recipes.task_data import TaskData
from electra_plus.recipes.tasks.running import judged
from electra_plus.recipes.tasks.task import LOWER_IS_BETTER, Encoded, Task, weighted_loss
from electra_plus.training.arguments import ElectraPlusTrainingArguments
from electra_plus.training.checkpoints import last_good_checkpoint
from electra_plus.training.mixup import SentenceMixup
from electra_plus.training.trainer import ElectraPlusTrainer

logger = logging.getLogger(__name__)


# Tokens of a row that texts share: longer ones need larger masks and save no more padding. A longer text has a row of its own.
PACKED_LENGTH = 256


class FineTuningTrainer(ElectraPlusTrainer):
    """
    The stock loop with layer-wise decay and checkpoints that are whole, whose evaluations judge predictions as people read them.

    Args:
        judge (`Callable`): Takes the model, returns metrics by name.
    """

    def __init__(self, *args, judge: Callable[[PreTrainedModel], dict[str, float]], **kwargs):
        super().__init__(*args, **kwargs)
        self.judge = judge

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Judge the validation rows, and log what comes of it."""
        metrics = {f"{metric_key_prefix}_{name}": score for name, score in self.judge(self.model).items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _load_best_model(self) -> None:
        with quiet():  # it would report tied weights as missing
            super()._load_best_model()


class Progress(TrainerCallback):
    """
    Shows a bar over the steps, and a line for each evaluation.

    Args:
        title (`str`): Of the bar.
        silent (`bool`): Whether to show nothing.
    """

    def __init__(self, title: str, silent: bool):
        self.title, self.silent, self.bar = title, silent, None

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self.title,
            unit="step",
            disable=self.silent or None,  # a bar is for terminals
            leave=False,
        )

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            self.bar.set_postfix_str(f"loss {float(logs['loss']):.3f}")

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if not self.silent:
            scores = ", ".join(
                f"{name.removeprefix('eval_')} {score:.4f}" for name, score in metrics.items() if score is not None
            )
            tqdm.write(f"{self.title}, epoch {state.epoch:.4g}: {scores}")

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing bars over ours."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def load_for_task(settings: FineTuningSettings, task: Task, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """
    Return the checkpoint's encoder under the head of a task, a new one where the checkpoint has none that fits.

    Raises:
        ValueError: Weights of the encoder are missing.
    """
    model, new = task.load(settings.model, tokenizer, settings.model_fields)
    refuse_new_encoder(settings.model, new, task.head)
    return model


def run_seed(
    settings: FineTuningSettings,
    task: Task,
    data: TaskData,
    encoded: dict[str, Encoded],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
) -> dict[str, Any]:
    """
    Fine-tune with the one seed in `settings.seeds`, from the last checkpoint in the folder if there is one.

    Args:
        settings ([`FineTuningSettings`]): The run.
        task ([`Task`]): With what [`Task.learn`] found.
        data ([`TaskData`]): Rows and examples.
        encoded (`dict`): Rows for the model of `train`, `validation` and, if there is a test, `test`.
        tokenizer ([`PreTrainedTokenizerBase`]): Of the model.
        folder (`Path`): For checkpoints, the model and predictions.

    Returns:
        `dict`: `validation` and `test` (metrics by name), `epoch` (of the best checkpoint), `seconds`, and the `curve`: loss and scores
        (`eval_…`) by epoch, in order.
    """
    task = copy.copy(task)  # `after_training` changes it
    seed, silent = settings.seeds[0], bool(settings.training.get("disable_tqdm"))
    started = time.perf_counter()
    set_seed(seed)
    model = load_for_task(settings, task, tokenizer)
    arguments = training_arguments(
        ElectraPlusTrainingArguments,
        str(folder),
        default_training(settings, task, model.config.get_text_config()),
        settings.training,
    )
    arguments.metric_for_best_model = settings.metric or task.metrics[0]
    arguments.greater_is_better = arguments.metric_for_best_model not in LOWER_IS_BETTER
    bfloat16 = bool(arguments.bf16)

    def judge(model: PreTrainedModel, split: str = "validation") -> tuple[dict[str, float], list[dict[str, Any]]]:
        title = None if silent else split
        return judged(task, model, tokenizer, getattr(data, split).examples, encoded[split], bfloat16, title)

    class_weights, loss = None, None
    if settings.class_weights is not None:
        class_weights = task.class_weights(settings.class_weights, encoded["train"].rows)
        loss = weighted_loss(class_weights)
    callbacks: list[TrainerCallback] = [Progress(f"seed {seed}", silent)]
    if settings.early_stopping is not None:
        arguments.restore_callback_states_from_checkpoint = True  # how long it has waited
        callbacks.append(EarlyStoppingCallback(settings.early_stopping))
    if settings.augment is not None and (augment := make_augmentation(settings.augment)).mixup is not None:
        mixup = SentenceMixup(model, augment.mixup, augment.seed, class_weights)
        callbacks.append(mixup)
        loss = mixup.loss
    trainer = FineTuningTrainer(
        model=model,
        args=arguments,
        train_dataset=encoded["train"].rows,
        eval_dataset=encoded["validation"].rows,
        data_collator=collator(task, tokenizer),
        processing_class=tokenizer,
        callbacks=callbacks,
        judge=lambda model: judge(model)[0],
        compute_loss_func=loss,
    )
    for unwanted in (PrinterCallback, ProgressCallback):
        trainer.pop_callback(unwanted)
    checkpoint = last_good_checkpoint(folder)
    if checkpoint is not None:
        logger.warning("seed %s: going on from %s", seed, checkpoint)
    with without_bars():  # of every file that is written
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))

    found: dict[str, Any] = {}
    for split in ("validation", "test"):
        if split in encoded:
            found[split], predictions = judge(trainer.model, split)
            if predictions:  # those of the test, if there is one
                write_predictions(folder / PREDICTIONS_FILE, getattr(data, split).rows, predictions)
    task.after_training(trainer.model)
    with without_bars():
        trainer.save_model()
    best = trainer.state.best_global_step
    steps_per_epoch = trainer.state.global_step / max(trainer.state.epoch or 1, 1e-9)
    return {
        **found,
        "epoch": round((best or trainer.state.global_step) / max(steps_per_epoch, 1e-9), 4),
        "seconds": round(time.perf_counter() - started, 1),
        "curve": learning_curve(trainer.state.log_history),
    }


def learning_curve(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Return what a trainer logged of losses and scores.

    Example:

    >>> learning_curve([{"epoch": 0.5, "loss": 0.7, "learning_rate": 1e-4}, {"epoch": 1.0, "eval_f1": 0.8}, {"train_loss": 0.6}])
    [{'epoch': 0.5, 'loss': 0.7}, {'epoch': 1.0, 'eval_f1': 0.8}]
    """
    points = (
        {name: value for name, value in entry.items() if name in ("epoch", "loss") or name.startswith("eval_")}
        for entry in log
    )
    return [point for point in points if len(point) > 1]


def collator(task: Task, tokenizer: PreTrainedTokenizerBase) -> Callable[[list[dict]], dict[str, Any]]:
    """Return what makes batches for training: rows shared by short texts where that pays, else padding."""
    if task.packs:
        return DataCollatorForPacking(tokenizer, row_length=min(task.max_length, PACKED_LENGTH))
    return lambda rows: task.pad(rows, tokenizer.pad_token_id)


def write_predictions(file: Path, rows: list[dict], predictions: list[dict[str, Any]]) -> None:
    """Write each row with its prediction, as json lines, in one move."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.new")
    with aside.open("w", encoding="utf-8") as lines:
        for row, prediction in zip(rows, predictions, strict=True):
            lines.write(json.dumps({**row, **prediction}, ensure_ascii=False, default=str) + "\n")
    aside.replace(file)
