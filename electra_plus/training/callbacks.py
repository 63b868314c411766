"""Callbacks for the stock `Trainer`: the original's training log, and masks that a resumed run repeats."""

import time

import torch
from transformers import TrainerCallback

from electra_plus.metrics.detection import DetectionMetrics


class PretrainingMetricsCallback(TrainerCallback):
    """
    Adds to every training log what the original code logs, averaged since the log before.

    `generator_loss`, `generator_accuracy`, `discriminator_loss`, `detection_accuracy`, `detection_precision`,
    `detection_recall`, `detection_auc`, `replaced_rate`, and `tokens_per_second` (padding not counted). It listens to the
    model's outputs, so the stock `Trainer` needs no change; with several processes each logs its own share of the batch.
    Put it first in `callbacks`, so that later ones see what it adds.
    """

    def __init__(self):
        self._hook = None
        self._reset()

    def _reset(self) -> None:
        self._detection = DetectionMetrics()
        self._sums: dict[str, torch.Tensor] = {}
        self._num_batches = 0
        self._num_tokens: torch.Tensor | int = 0
        self._since = time.perf_counter()

    def _collect(self, model, arguments, outputs) -> None:
        if not model.training or outputs.get("rtd_labels") is None:
            return
        labels = outputs["rtd_labels"]
        self._detection.update(outputs["logits"], labels)
        self._num_tokens = self._num_tokens + (labels != -100).sum()
        self._num_batches += 1
        for name in ("generator_loss", "generator_accuracy", "discriminator_loss"):
            self._sums[name] = self._sums.get(name, 0.0) + outputs[name].detach()

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._reset()
        if self._hook is None:
            self._hook = getattr(model, "module", model).register_forward_hook(self._collect)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is None or "loss" not in logs or not self._num_batches:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        added = {name: round((total / self._num_batches).item(), 4) for name, total in self._sums.items()}
        scores = {name: round(value, 4) for name, value in self._detection.compute().items()}
        added["replaced_rate"] = scores.pop("replaced_rate")
        added.update({f"detection_{name}": value for name, value in scores.items()})
        added["tokens_per_second"] = round(float(self._num_tokens) / seconds)
        logs.update(added)
        if state.log_history:
            state.log_history[-1].update(added)  # what trainer_state.json keeps
        self._reset()

    def on_train_end(self, args, state, control, **kwargs):
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


class MaskingStepCallback(TrainerCallback):
    """
    Numbers the batches of a collator by the steps of the training, so that a resumed run masks as an uninterrupted one.

    Args:
        collator ([`DataCollatorForReplacedTokenDetection`]): The one the trainer uses.
    """

    def __init__(self, collator):
        self.collator = collator

    def on_epoch_begin(self, args, state, control, **kwargs):
        # workers are copies made after this point, so they start from the same number
        self.collator.start_at(state.global_step * args.gradient_accumulation_steps)
