"""Floating-point operations of a training step, and how many of them a device can do."""

import time

import torch
from transformers import PreTrainedConfig

from electra_plus.models.further_objectives_electra_plus import OBJECTIVES


def encoder_flops(config: PreTrainedConfig, num_tokens: int, row_length: int) -> float:
    """
    Return the operations of one forward pass of an encoder: matrix products only, a multiply-add counting two.

    Args:
        config ([`PreTrainedConfig`]): Of an ElectraPlus, ELECTRA or BERT encoder.
        num_tokens (`int`): In the batch, padding included.
        row_length (`int`): Tokens that a token attends to in a global layer.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    embedding = getattr(config, "embedding_size", hidden)
    gated = getattr(config, "mlp_type", "standard") == "gated"
    weights = 4 * hidden * hidden + (3 if gated else 2) * hidden * inner
    window = min(row_length, (getattr(config, "sliding_window", None) or row_length) * 2 + 1)
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    seen = sum(window if kind == "sliding_attention" else row_length for kind in kinds)
    projection = embedding * hidden if embedding != hidden else 0
    return 2.0 * num_tokens * (config.num_hidden_layers * weights + 2 * hidden * seen + projection)


def training_flops(
    config: PreTrainedConfig, num_tokens: int, row_length: int, num_masked: int, networks: str = "both"
) -> float:
    """
    Return the operations of a training step of [`ElectraPlusForPreTraining`], or of a masked LM if it has no generator.

    A backward pass costs two forward passes. Recomputation, norms, softmax and sampling are not counted; of further
    objectives, the vocabulary's scores and the encoder's passes are.

    Args:
        config ([`ElectraPlusConfig`]): Of the model.
        num_tokens, row_length (`int`): As in [`encoder_flops`].
        num_masked (`int`): Slots that meet the vocabulary.
        networks (`str`, *optional*, defaults to `"both"`): What the step trains, as in the model's `forward`.
    """

    def vocabulary(of: PreTrainedConfig) -> float:
        return 2.0 * num_masked * getattr(of, "embedding_size", of.hidden_size) * (of.hidden_size + of.vocab_size)

    def masked_lm(of: PreTrainedConfig) -> float:
        return encoder_flops(of, num_tokens, row_length) + vocabulary(of)

    generator = getattr(config, "generator_config", None)
    if generator is None:
        return 3 * masked_lm(config)
    detector = encoder_flops(config, num_tokens, row_length) + 2.0 * num_tokens * config.hidden_size**2
    for objective in (OBJECTIVES[name] for name, weight in (config.objective_weights or {}).items() if weight):
        detector += objective.num_encoder_passes * encoder_flops(config, num_tokens, row_length)
        detector += objective.scores_vocabulary * vocabulary(config)
    of_generator = {"generator": 3, "discriminator": 1}.get(networks, 3) * masked_lm(generator)
    return of_generator + (0 if networks == "generator" else 3 * detector)


def measured_peak_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return the operations a second of a large matrix product, the best of a few: what a step could at most reach."""
    size = 1024 if device.type == "cpu" else 8192
    # random: a device multiplies zeros and ones faster than numbers of a training
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def seconds() -> float:
        started = time.perf_counter()
        (left @ right)[0, 0].item()  # waits for the device
        return time.perf_counter() - started

    return 2.0 * size**3 / min(seconds() for _ in range(8))
