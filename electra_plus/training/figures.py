"""What a pretraining run says of itself: the figures the original logs, and speed."""

import time
from typing import Any

import torch
from torch import Tensor, nn

from electra_plus.metrics.detection import DetectionMetrics
from electra_plus.models.configuration_electra_plus import OBJECTIVE_NAMES

MEANS = (
    "generator_loss",
    "generator_accuracy",
    "discriminator_loss",
    *(f"{name}_loss" for name in OBJECTIVE_NAMES),
)


class PretrainingFigures:
    r"""
    Collects figures from a model's outputs during training, without waiting for the device, until they are read.

    It listens to the model's forward calls, so that no training loop needs to hand it anything.
    """

    def __init__(self):
        self._hook = None
        self.start()

    def attach(self, model: nn.Module) -> None:
        """Listen to a model, wrapped for several processes or not."""
        if self._hook is None:
            self._hook = getattr(model, "module", model).register_forward_hook(self._collect, with_kwargs=True)

    def detach(self) -> None:
        """Stop listening."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def start(self) -> None:
        """Begin a run: forget all, and count its time from now."""
        self._started = time.perf_counter()
        self.reset()

    @property
    def seconds_since_start(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._started

    @property
    def seconds(self) -> float:
        """Seconds since the figures were last taken."""
        return max(time.perf_counter() - self._since, 1e-9)

    def reset(self) -> None:
        """Forget all, and count time from now."""
        self._detection = DetectionMetrics()
        self._sums: dict[str, Tensor] = {}
        self._since = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold so that the next figures are those of an uninterrupted run."""
        sums = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in self._sums.items()}
        counts = [None if c is None else c.cpu() for c in (self._detection.histogram, self._detection.confusion)]
        return {"sums": sums, "histogram": counts[0], "confusion": counts[1]}

    def load_state(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from what `state` gave."""
        self.reset()
        self._sums = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in state["sums"].items()
        }
        if state["confusion"] is not None:
            self._detection.histogram = state["histogram"].to(device)
            self._detection.confusion = state["confusion"].to(device)

    def _add(self, name: str, value: Tensor | float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    @torch.compiler.disable  # a compiled model traces its hooks, and would be compiled anew for each of these growing sums
    def _collect(self, model, arguments, keywords, outputs) -> None:
        labels = keywords.get("labels")
        if not model.training or labels is None or not hasattr(outputs, "get"):
            return
        mask = keywords.get("attention_mask")
        has_mask = mask is not None and mask.dim() == 2
        # labels may be of whole rows; padding is neither masked nor labelled, and without a mask there is none
        slots = mask.numel() if has_mask else labels.numel()
        self._add("slots", slots)
        self._add("tokens", mask.sum() if has_mask else slots)
        further = {f"{name}_loss": loss for name, loss in (outputs.get("objective_losses") or {}).items()}
        for name in MEANS:
            value = further.get(name, outputs.get(name))
            if value is not None:
                self._add(name, value.detach())
                self._add(f"num_{name}", 1)
        if outputs.get("rtd_labels") is not None:
            self._detection.update(outputs["logits"], outputs["rtd_labels"])
            self._add("masked", (labels != -100).sum())

    def take(self) -> dict[str, float]:
        """
        Return the figures since the last time, over all processes, and begin anew.

        Returns:
            `dict`: `generator_loss` and `discriminator_loss` (nats), `generator_accuracy` (of the likeliest token),
            `sampled_accuracy` (of the token drawn), `detection_accuracy`, `detection_precision`, `detection_recall`,
            `detection_auc`, `replaced_rate`, `padding_rate` (all fractions), and `tokens_per_second` (padding not counted);
            with further objectives the loss of each, such as `corrective_lm_loss` (nats).
        """
        seconds = self.seconds
        sums, detection = self._reduced()
        self.reset()
        figures = {name: round(sums[name] / sums[f"num_{name}"], 4) for name in MEANS if sums.get(f"num_{name}", 0) > 0}
        if detection.confusion is not None and sums.get("masked"):
            scores = {name: round(value, 4) for name, value in detection.compute().items()}
            figures["replaced_rate"] = scores.pop("replaced_rate")
            figures["sampled_accuracy"] = round(1 - detection.confusion[1].sum().item() / sums["masked"], 4)
            figures.update({f"detection_{name}": value for name, value in scores.items()})
        if sums.get("slots"):
            figures["padding_rate"] = round(1 - sums["tokens"] / sums["slots"], 4)
            figures["tokens_per_second"] = round(sums["tokens"] / seconds)
        return figures

    def _reduced(self) -> tuple[dict[str, float], DetectionMetrics]:
        """Return the sums of all processes, as numbers."""
        names = ["slots", "tokens", "masked", *MEANS, *(f"num_{name}" for name in MEANS)]
        device = self._detection.confusion.device if self._detection.confusion is not None else _device(self._sums)
        values = torch.stack(
            [torch.as_tensor(self._sums.get(name, 0.0), dtype=torch.float64).to(device) for name in names]
        )
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(values)
            if self._detection.confusion is not None:
                torch.distributed.all_reduce(self._detection.histogram)
                torch.distributed.all_reduce(self._detection.confusion)
        return dict(zip(names, values.tolist(), strict=True)), self._detection


def _device(sums: dict[str, Any]) -> torch.device:
    return next((value.device for value in sums.values() if isinstance(value, Tensor)), torch.device("cpu"))
