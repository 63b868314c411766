"""
FSDP2 of a joint model: what accelerate's wrapping must leave to the root unit, and FSDP on processors.

Encoder layers are units of their own, gathered while they run. Embeddings and heads stay in the root unit, which is whole from the
beginning of the model's forward to the end of its backward: the same tables are looked up by two networks and scored against by
the generator's head, which reads its weight without calling the module. accelerate would put them into units by themselves.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import TrainingArguments

# The argument that recomputes layers in the backward pass: transformers 5.17 knows the old name only, 5.23 warns of it.
RECOMPUTING = "activation_checkpointing"
if RECOMPUTING not in TrainingArguments.__dataclass_fields__:
    RECOMPUTING = "gradient_checkpointing"


def turn_on_for_cpu(accelerator: Accelerator, plugin_arguments: dict[str, Any] | None) -> bool:
    """
    Turn FSDP on where it was asked for and accelerate, which knows it on devices only, has silently taken DDP instead.

    Args:
        accelerator ([`Accelerator`]): As it was made.
        plugin_arguments (`dict`, *optional*): Of the plugin; `None` if only the launcher's environment may ask for FSDP.

    Returns:
        `bool`: whether it was.
    """
    state = accelerator.state
    asked = plugin_arguments is not None or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if not asked or state.distributed_type != DistributedType.MULTI_CPU:
        return False
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**(plugin_arguments or {}))
    if state.mixed_precision != "no":
        state.fsdp_plugin.set_mixed_precision(state.mixed_precision)
    # both objects: whoever asks for an AcceleratorState copies the other's fields into it
    state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
    return True


def refuse_what_fails(version: int, activation_checkpointing: bool) -> None:
    """
    Raise for FSDP1 and for accelerate's own activation checkpointing.

    Raises:
        ValueError: `version` is not 2, or `activation_checkpointing` is on.
    """
    if version != 2:
        raise ValueError(
            f"`fsdp_config['version']` must be 2, got {version}. Leave it out, or say `fsdp_version: 2` in accelerate's file."
        )
    if activation_checkpointing:
        raise ValueError(
            "`fsdp_config['activation_checkpointing']` recomputes layers with other dropout than they ran with, which makes "
            f"gradients wrong. Use the argument `{RECOMPUTING}=True` itself, which keeps it."
        )


@contextmanager
def embeddings_in_the_root(model: nn.Module, plugin: FullyShardedDataParallelPlugin) -> Iterator[None]:
    """Let accelerate, which prepares the model meanwhile, make units of encoder layers only."""
    if plugin.transformer_cls_names_to_wrap is None:
        names = model._no_split_modules or []
        plugin.transformer_cls_names_to_wrap = [name for name in names if not name.endswith("Embeddings")]
    if plugin.mixed_precision_policy is not None:
        # accelerate would round the loss to the parameters' dtype too, and sum gradients over processes in it
        dtype = plugin.mixed_precision_policy.param_dtype
        plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    model.get_input_embeddings = model.get_output_embeddings = lambda: None
    try:
        yield
    finally:
        del model.get_input_embeddings, model.get_output_embeddings


def reshard(model: nn.Module) -> None:
    """Let the root unit go back to its shards, which an evaluation leaves whole: what saving folds must reach the shards."""
    if isinstance(model, FSDPModule):
        model.reshard()


def local(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor, in every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
