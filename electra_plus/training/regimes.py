"""Training regimes: which network a step trains, and how the generator draws in it. A new regime is one class and one row."""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Joint:
    """
    Both networks in every step, the sum of both losses.

    Source: Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2.
    """

    def prepare(self, model: nn.Module) -> None:
        """Check and change a model before its optimizer is made."""

    def begin_step(self, model: nn.Module, step: int, max_steps: int) -> None:
        """Change a model before the optimizer step number `step`, counted from 0."""

    def inputs(self, step: int, max_steps: int) -> dict[str, Any]:
        """Return what [`ElectraPlusForPreTraining.forward`] gets besides the batch in step `step` of `max_steps`."""
        return {}


@dataclass(frozen=True)
class TwoStage(Joint):
    """
    The generator alone, then the discriminator alone with the generator as it is.

    Args:
        generator_fraction (`float`, *optional*, defaults to 0.5): Of the steps, in (0, 1).
        copy_encoder (`bool`, *optional*, defaults to `False`):
            The discriminator's encoder starts its stage from the generator's, which must have the same size.

    Source: Clark et al. 2020, section 3.2, "two-stage training procedure".
    """

    generator_fraction: float = 0.5
    copy_encoder: bool = False

    def __post_init__(self):
        if not 0 < self.generator_fraction < 1:
            raise ValueError(
                f"`generator_fraction` must be in (0, 1), got {self.generator_fraction}. The paper has 0.5."
            )

    def prepare(self, model: nn.Module) -> None:
        _need_own_tables(model, "two_stage")
        if self.copy_encoder:
            theirs, ours = ({name: p.shape for name, p in encoder.named_parameters()} for encoder in _encoders(model))
            if theirs != ours:
                raise ValueError(
                    "`copy_encoder=True` needs a generator of the discriminator's size and kind, got other parameters. Give "
                    "`generator_config` the same fields, or leave it at False."
                )

    def num_generator_steps(self, max_steps: int) -> int:
        """Return the steps of the first stage."""
        return round(self.generator_fraction * max_steps)

    def begin_step(self, model: nn.Module, step: int, max_steps: int) -> None:
        if self.copy_encoder and step == self.num_generator_steps(max_steps):
            theirs, ours = _encoders(model)
            ours.load_state_dict(theirs.state_dict())

    def inputs(self, step: int, max_steps: int) -> dict[str, Any]:
        return {"networks": "generator" if step < self.num_generator_steps(max_steps) else "discriminator"}


@dataclass(frozen=True)
class Alternating(Joint):
    """
    A few steps of the generator, then a few of the discriminator, and so on.

    Shared tables move in the steps of both.

    Args:
        generator_steps, discriminator_steps (`int`, *optional*, defaults to 1): In each turn, at least 1.
    """

    generator_steps: int = 1
    discriminator_steps: int = 1

    def __post_init__(self):
        for name in ("generator_steps", "discriminator_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")

    def inputs(self, step: int, max_steps: int) -> dict[str, Any]:
        turn = step % (self.generator_steps + self.discriminator_steps)
        return {"networks": "generator" if turn < self.generator_steps else "discriminator"}


@dataclass(frozen=True)
class Adversarial(Joint):
    """
    Both networks in every step, the generator also against the discriminator.

    Args:
        weight (`float`, *optional*, defaults to 1.0): Of the reversed gradient, times `discriminator_loss_weight`.

    Source: Clark et al. 2020, section 3.2, for the idea, there with REINFORCE; Meng et al. 2022 (AMOS),
    https://arxiv.org/abs/2204.03243, for the gradient, there of mixture weights only.
    """

    weight: float = 1.0

    def __post_init__(self):
        if self.weight < 0:
            raise ValueError(f"`weight` must not be negative, got {self.weight}. The gradient is reversed already.")

    def inputs(self, step: int, max_steps: int) -> dict[str, Any]:
        return {"networks": "adversarial", "adversarial_weight": self.weight}


@dataclass(frozen=True)
class FrozenGenerator(Joint):
    """
    The discriminator alone, with a trained generator whose temperature falls to 1 as training goes on.

    The temperature after the fraction `u` of the steps is `1 + (start_temperature - 1) * exp(-u / decay)`: easy replacements
    first, real ones later.

    Args:
        start_temperature (`float`, *optional*, defaults to 2.0): At least 1.
        decay (`float`, *optional*, defaults to 0.1): Fraction of the steps in which the excess falls to 1/e, > 0.

    Source: Dong et al. 2023 (Fast-ELECTRA), https://arxiv.org/abs/2310.07347, whose code is not public; the falling exponential is
    theirs, its constants are our reading.
    """

    start_temperature: float = 2.0
    decay: float = 0.1

    def __post_init__(self):
        if self.start_temperature < 1:
            raise ValueError(
                f"`start_temperature` must be at least 1, got {self.start_temperature}. Fast-ELECTRA has 2."
            )
        if self.decay <= 0:
            raise ValueError(f"`decay` must be > 0, got {self.decay}. Fast-ELECTRA has 0.1.")

    def prepare(self, model: nn.Module) -> None:
        _need_own_tables(model, "frozen_generator")
        model.generator.requires_grad_(False)

    def inputs(self, step: int, max_steps: int) -> dict[str, Any]:
        fraction = step / max(1, max_steps)
        temperature = 1.0 + (self.start_temperature - 1.0) * math.exp(-fraction / self.decay)
        return {"networks": "discriminator", "generator_temperature": temperature}


REGIMES = {
    "joint": Joint,
    "two_stage": TwoStage,
    "alternating": Alternating,
    "adversarial": Adversarial,
    "frozen_generator": FrozenGenerator,
}


def make_regime(name: str, arguments: dict[str, Any] | None = None) -> Joint:
    """
    Return a regime by its name.

    Args:
        name (`str`): Of `REGIMES`.
        arguments (`dict`, *optional*): Of its class.

    Raises:
        ValueError: There is no such regime, or it takes no such argument.
    """
    if name not in REGIMES:
        raise ValueError(f"`regime` must be one of {list(REGIMES)}, got {name!r}.")
    known = list(REGIMES[name].__dataclass_fields__)
    unknown = sorted(set(arguments or {}) - set(known))
    if unknown:
        raise ValueError(f"`regime_kwargs` has {unknown}, which {name!r} does not take. It takes {known or 'nothing'}.")
    return REGIMES[name](**(arguments or {}))


def _encoders(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the generator's and the discriminator's encoder, without embeddings."""
    return model.generator.base_model.encoder, model.electra.encoder


def _need_own_tables(model: nn.Module, regime: str) -> None:
    """Refuse shared tables where the discriminator's steps must leave the generator as it is."""
    theirs = {id(p) for p in model.generator.parameters()}
    if any(id(p) in theirs for p in model.electra.parameters()):
        raise ValueError(
            f"`regime={regime!r}` leaves the generator alone while the discriminator trains, but `embedding_sharing="
            f"{model.config.embedding_sharing!r}` lets both train the same tables. Use `embedding_sharing='none'` or 'gdes'."
        )
