"""Notices a run that goes wrong and says so plainly, with advice."""

import math

import torch
from accelerate import Accelerator
from torch import nn
from transformers.utils import logging

from electra_plus.training.figures import MEANS
from electra_plus.training.sharding import local

logger = logging.get_logger(__name__)

COLLAPSE_AUC = 0.52  # a detector that finds nothing; 0.5 is chance
LEARNED_AUC = 0.6  # one that has found something
PATIENCE = 5  # logs in a row: one may be chance
LOSSES = [name for name in MEANS if name.endswith("_loss")]
DIVERGED = 1.3  # times the lowest loss so far; masked LM losses move by a few percent


class TrainingHealth:
    """
    Watches the figures of a run. Each warning is given once.

    Args:
        warm_up_fraction (`float`, *optional*, defaults to 0.2):
            Of the steps, in which a detector that says "original" to all is as it should be: few tokens are replaced, and
            nothing better is known yet.
    """

    def __init__(self, warm_up_fraction: float = 0.2):
        self.warm_up_fraction = warm_up_fraction
        self.best_auc = 0.0
        self.lowest: dict[str, float] = {}
        self.in_a_row = {"collapse": 0, "diverging": 0}
        self.said: set[str] = set()

    def check(self, logs: dict[str, float], step: int, max_steps: int) -> list[str]:
        """
        Return new warnings, each a sentence with advice.

        Args:
            logs (`dict`): Figures as they are logged.
            step, max_steps (`int`): Optimizer steps taken, and of the whole run.

        Raises:
            FloatingPointError: The loss is not a finite number.
        """
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} at step {step}. Checkpoints written before are intact. Lower `learning_rate`, lengthen "
                "`warmup_steps`, set `max_grad_norm`, or with fp16 use bf16; then start again."
            )
        found = []
        auc = logs.get("detection_auc")
        if auc is not None:
            collapsed = auc < COLLAPSE_AUC and logs.get("detection_recall", 1.0) == 0.0
            fallen = auc < COLLAPSE_AUC <= LEARNED_AUC < self.best_auc
            late = step > self.warm_up_fraction * max_steps
            if self._lasts("collapse", fallen or (collapsed and late)):
                found.append(
                    f"The detector calls every token original (AUC {auc:.2f}, where 0.5 is chance, best so far {self.best_auc:.2f}). "
                    "A generator that is too strong does that: give `generator_config` a quarter to a half of the "
                    "discriminator's width or depth; or lower `learning_rate`, or begin with masked LM "
                    "(`regime='two_stage'` with `copy_encoder`)."
                )
            self.best_auc = max(self.best_auc, auc)
        diverging = []
        for name in LOSSES:
            if name in logs:
                self.lowest[name] = min(self.lowest.get(name, logs[name]), logs[name])
                if logs[name] > DIVERGED * self.lowest[name]:
                    diverging.append(f"{name} {logs[name]:.3f} after {self.lowest[name]:.3f}")
        if self._lasts("diverging", bool(diverging)):
            found.append(
                f"The loss is rising ({', '.join(diverging)}). Lower `learning_rate` or lengthen `warmup_steps`; to go on "
                "from before, delete the checkpoints written since and start again."
            )
        return found

    def _lasts(self, what: str, is_so: bool) -> bool:
        """Whether something has now been so for `PATIENCE` logs and was not said before."""
        self.in_a_row[what] = self.in_a_row[what] + 1 if is_so else 0
        if self.in_a_row[what] < PATIENCE or what in self.said:
            return False
        self.said.add(what)
        return True


def refuse_broken_weights(model: nn.Module, accelerator: Accelerator, name: str) -> None:
    """
    Raise rather than write weights that are not numbers over a run that has good ones.

    Args:
        model (`nn.Module`): In this process.
        accelerator ([`~accelerate.Accelerator`]): Asks all processes.
        name (`str`): Of the checkpoint.

    Raises:
        FloatingPointError: In some process a weight is infinite or NaN.
    """
    finite = torch.stack([local(p).isfinite().all() for p in model.parameters()]).all().to(accelerator.device)
    if not bool(accelerator.gather(finite[None]).all()):
        raise FloatingPointError(
            f"{name} is not written: weights are not finite numbers. Checkpoints written before are intact. Lower "
            "`learning_rate`, lengthen `warmup_steps`, or set `max_grad_norm`; then start again."
        )
