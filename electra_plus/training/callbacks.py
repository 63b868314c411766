"""Callbacks for the stock `Trainer`: the original's training log, and a budget of wall time."""

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


class TimeBudget(TrainerCallback):
    r"""
    Ends the training when its wall time is spent, with a learning rate that follows the clock instead of the steps.

    Give the trainer `callbacks=[budget]` and `optimizers=(optimizer, budget.scheduler(optimizer))`, and a `max_steps` that
    is never reached. The number of steps then depends on the machine.

    Args:
        seconds (`float`): Wall time from the first step to the last.
        warmup_fraction (`float`, *optional*, defaults to 0.02): Fraction of the time with a rising learning rate.
    """

    def __init__(self, seconds: float, warmup_fraction: float = 0.02):
        if seconds <= 0:
            raise ValueError(f"`seconds` must be > 0, got {seconds}.")
        self.seconds = seconds
        self.warmup_fraction = warmup_fraction
        self._started: float | None = None

    @property
    def fraction_spent(self) -> float:
        """Fraction of the budget that has passed, in [0, 1]."""
        if self._started is None:
            return 0.0
        return min(1.0, (time.perf_counter() - self._started) / self.seconds)

    def learning_rate_factor(self, step: int) -> float:
        """Multiplier of the learning rate now: linear warm-up, then linear decay to a hundredth."""
        spent = self.fraction_spent
        if spent < self.warmup_fraction:
            return max(spent / self.warmup_fraction, 0.01)
        return max(0.01, (1 - spent) / (1 - self.warmup_fraction))

    def scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        """Return a scheduler that sets the learning rate by the clock."""
        return torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)

    def on_step_begin(self, args, state, control, **kwargs):
        if self._started is None:
            self._started = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        if self.fraction_spent >= 1:
            control.should_training_stop = True
