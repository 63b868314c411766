"""Which parameters share a learning rate, a weight decay and a gradient norm."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"
MAIN = "main"  # models without a generator, and joint ones whose networks are treated alike

_LAYER = re.compile(r"(?:^|\.)encoder\.layer\.(\d+)\.")
_BELOW_LAYERS = re.compile(r"(?:^|\.)(?:embeddings|embeddings_project|embedding_differences)\.")


def network_of(name: str) -> str:
    """
    Return which network of a joint model a parameter belongs to, by its name.

    What both share has the discriminator's name in `named_parameters()` and counts as the discriminator's.
    """
    return GENERATOR if name.startswith("generator.") else DISCRIMINATOR


def depth_of(name: str, num_layers: int) -> int:
    """Return 0 for embeddings and their projection, `i + 1` for layer `i`, `num_layers + 1` for all that comes after."""
    layer = _LAYER.search(name)
    if layer:
        return int(layer[1]) + 1
    return 0 if _BELOW_LAYERS.search(name) else num_layers + 1


def learning_rate_multiplier(name: str, num_layers: int, decay: float, as_released: bool = False) -> float:
    """
    Return the multiplier of layer-wise learning rate decay.

    The head has 1, the topmost layer `decay`, the next `decay ** 2`, the embeddings `decay ** (num_layers + 1)`.

    Args:
        name (`str`): Of the parameter.
        num_layers (`int`): Of the encoder.
        decay (`float`): In (0, 1]; the paper has 0.8 for small and base models, 0.9 for large ones.
        as_released (`bool`, *optional*, defaults to `False`):
            One `decay` more below the head, as the released code has it: it counts the head two above the topmost layer.

    Source: Clark et al. 2020, https://arxiv.org/abs/2003.10555, appendix B; google-research/electra, `model/optimization.py`.
    """
    below_head = num_layers + 1 - depth_of(name, num_layers)
    return decay ** (below_head + (as_released and below_head > 0))


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix inside an encoder layer: what Muon is made for."""
    return parameter.ndim == 2 and _LAYER.search(name) is not None


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    decay_names: Iterable[str],
    *,
    learning_rate: float,
    weight_decay: float,
    generator_learning_rate: float | None = None,
    generator_weight_decay: float | None = None,
    separate_networks: bool = False,
    multiplier: Callable[[str], float] | None = None,
    use_muon: Callable[[str, nn.Parameter], bool] | None = None,
) -> list[dict[str, Any]]:
    r"""
    Return parameter groups for an optimizer, one for each combination of network, learning rate and weight decay.

    Args:
        named_parameters: Of the model. Those without `requires_grad` are left out.
        decay_names: Names of those with weight decay.
        learning_rate, weight_decay (`float`): Of the discriminator, of what it shares, and of models without generator.
        generator_learning_rate, generator_weight_decay (`float`, *optional*): Of the generator. `None` is the same.
        separate_networks (`bool`, *optional*, defaults to `False`):
            Keep the networks' groups apart even where their numbers are the same, so that each can be clipped alone.
        multiplier (`Callable`, *optional*): Gives the factor of the learning rate for a parameter's name.
        use_muon (`Callable`, *optional*): Says for a name and parameter whether [`MuonWithAdamW`] gives it to Muon.

    Returns:
        `list[dict]`: with `params`, `lr`, `weight_decay`, and for the reader of a checkpoint `network` (`"generator"`,
        `"discriminator"` or `"main"`) and, with `use_muon`, `use_muon`.

    Source for two optimizers: Dong et al. 2023, https://proceedings.mlr.press/v202/dong23c.html: in one, Adam would cancel the
    weights of the losses.
    """
    decay_names = set(decay_names)
    separate = separate_networks or generator_learning_rate is not None or generator_weight_decay is not None
    groups: dict[tuple, dict[str, Any]] = {}
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        network = network_of(name) if separate else MAIN
        rate, decay = learning_rate, weight_decay
        if network == GENERATOR:
            rate = rate if generator_learning_rate is None else generator_learning_rate
            decay = decay if generator_weight_decay is None else generator_weight_decay
        group = {
            "network": network,
            "lr": rate * (multiplier(name) if multiplier else 1.0),
            "weight_decay": decay if name in decay_names else 0.0,
        }
        if use_muon:
            group["use_muon"] = use_muon(name, parameter)
        groups.setdefault(tuple(group.values()), {"params": [], **group})["params"].append(parameter)
    return list(groups.values())
