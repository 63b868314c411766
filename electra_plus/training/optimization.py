"""From the training arguments to optimizer, parameter groups and schedule."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from electra_plus.optim.adam import AdamWithoutBiasCorrection
from electra_plus.optim.groups import (
    GENERATOR,
    is_hidden_matrix,
    learning_rate_multiplier,
    network_of,
    parameter_groups,
)
from electra_plus.optim.muon import MuonWithAdamW
from electra_plus.optim.schedules import original_schedule

if TYPE_CHECKING:
    from electra_plus.training.arguments import (
        ElectraPlusTrainingArguments,
    )  # which takes the names of optimizers from here

OWN_OPTIMIZERS = {"original": AdamWithoutBiasCorrection, "muon": MuonWithAdamW}
# arguments of an optimizer that makes its own groups
MAKES_GROUPS = {"params", "model", "optimizer_dict"}


def own_optimizer(args: "ElectraPlusTrainingArguments") -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Return class and arguments of an optimizer that transformers does not have, `None` if it has the one asked for."""
    if args.own_optimizer is None:
        return None
    kwargs = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
    return OWN_OPTIMIZERS[args.own_optimizer], kwargs


def takes_groups(optimizer_class: Any, kwargs: dict[str, Any]) -> bool:
    """Whether an optimizer of transformers is a plain one, to be handed parameter groups."""
    is_plain = isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)
    return is_plain and not MAKES_GROUPS & set(kwargs)


def refuse_groups(args: "ElectraPlusTrainingArguments") -> None:
    """
    Raise if an optimizer that makes its own groups was asked for together with what needs ours.

    Raises:
        ValueError: An argument would have no effect.
    """
    names = ("generator_learning_rate", "generator_weight_decay", "layerwise_lr_decay")
    given = [name for name in names if getattr(args, name) is not None]
    if given:
        raise ValueError(
            f"`optim={str(args.optim)!r}` makes its own parameter groups, so {given} would have no effect. "
            "Use another optimizer, or leave them out."
        )


def make_groups(
    model: nn.Module, args: "ElectraPlusTrainingArguments", decay_names: Iterable[str], is_joint: bool
) -> list[dict[str, Any]]:
    """
    Return the parameter groups that the arguments ask for; see [`parameter_groups`].

    Args:
        model (`nn.Module`): Whose parameters.
        args ([`ElectraPlusTrainingArguments`]): Learning rates, weight decays, decay from layer to layer, clipping.
        decay_names (`Iterable[str]`): Of the parameters with weight decay.
        is_joint (`bool`): Whether the model holds generator and discriminator.
    """
    return parameter_groups(
        model.named_parameters(),
        decay_names,
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        generator_learning_rate=args.generator_learning_rate,
        generator_weight_decay=args.generator_weight_decay,
        separate_networks=args.generator_max_grad_norm is not None,
        multiplier=_layer_multiplier(model, args, is_joint),
        use_muon=is_hidden_matrix if args.own_optimizer == "muon" else None,
    )


def _layer_multiplier(
    model: nn.Module, args: "ElectraPlusTrainingArguments", is_joint: bool
) -> Callable[[str], float] | None:
    if args.layerwise_lr_decay is None:
        return None
    num_layers = model.config.num_hidden_layers
    of_generator = model.config.generator_config.num_hidden_layers if is_joint else num_layers

    def multiplier(name: str) -> float:
        depth = of_generator if is_joint and network_of(name) == GENERATOR else num_layers
        return learning_rate_multiplier(name, depth, args.layerwise_lr_decay, args.layerwise_lr_decay_as_released)

    return multiplier


def own_schedule(
    args: "ElectraPlusTrainingArguments", optimizer: torch.optim.Optimizer, num_training_steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """Return a schedule that transformers does not have, `None` if it has the one asked for, whose arguments are completed."""
    if args.own_schedule == "original":
        num_warmup_steps = args.get_warmup_steps(num_training_steps)
        return original_schedule(optimizer, num_warmup_steps, num_training_steps, **(args.lr_scheduler_kwargs or {}))
    if args.lr_scheduler_type == "warmup_stable_decay":
        num_decay_steps = {"num_decay_steps": max(1, num_training_steps // 5)}
        args.lr_scheduler_kwargs = {**num_decay_steps, **(args.lr_scheduler_kwargs or {})}
    return None
