"""
Dropout on processors, where the random numbers are what it costs.

torch draws one number for each element, one after the other, and its attention kernels take no dropout on a processor. Here one
64-bit draw decides four elements: a third of the time, and a mask of one byte an element instead of four to keep for the
backward pass. On accelerators and under `torch.compile` torch's own dropout is as good and is used.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

STEPS = 1 << 16  # a rate is rounded to this fraction: 0.1 becomes 0.10001


def kept_elements(shape: torch.Size, rate: float) -> tuple[Tensor, float]:
    r"""
    Draw which elements dropout keeps, from torch's global generator of the processor.

    Args:
        shape (`torch.Size`): Of the mask.
        rate (`float`): Chance of each element to be dropped, in [0, 1).

    Returns:
        `tuple`: a `torch.BoolTensor` of that shape, True to keep, and the factor that keeps the mean.
    """
    dropped = round(rate * STEPS)
    numel = shape.numel()
    # all 64 bits: without bounds the sign bit would always be 0
    draws = torch.empty(-(-numel // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[:numel].view(shape) >= dropped - STEPS // 2
    return kept, STEPS / (STEPS - dropped)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states: Tensor, rate: float) -> Tensor:
        kept, ctx.factor = kept_elements(states.shape, rate)
        ctx.save_for_backward(kept)
        return (states * kept).mul_(ctx.factor)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradient * kept).mul_(ctx.factor), None


class ElectraPlusDropout(nn.Dropout):
    """[`torch.nn.Dropout`], faster on a processor."""

    def forward(self, states: Tensor) -> Tensor:
        if not self.training or self.p == 0 or not draws_fast(states):
            return super().forward(states)
        return _Dropout.apply(states, self.p)


def draws_fast(states: Tensor) -> bool:
    """Whether the draws of this file are the faster ones for a tensor."""
    return states.device.type == "cpu" and not torch.compiler.is_compiling()


class _AttentionWithDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, rate: float):
        scores = torch.matmul(query * scaling, key.transpose(2, 3))
        if mask is not None:
            scores = scores.masked_fill_(~mask, float("-inf")) if mask.dtype == torch.bool else scores.add_(mask)
        weights = scores.softmax(dim=-1)
        kept, ctx.factor = kept_elements(weights.shape, rate)
        ctx.scaling = scaling
        ctx.save_for_backward(query, key, value, weights, kept)
        return torch.matmul(weights * kept, value * ctx.factor)  # the factor where it meets fewer numbers

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        query, key, value, weights, kept = ctx.saved_tensors
        gradient = gradient * ctx.factor
        of_value = torch.matmul((weights * kept).transpose(2, 3), gradient)
        of_weights = torch.matmul(gradient, value.transpose(2, 3)).mul_(kept)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.matmul(of_scores, key * ctx.scaling)
        of_key = torch.matmul(of_scores.transpose(2, 3), query * ctx.scaling)
        return of_query, of_key, of_value, None, None, None


def attention_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, rate: float
) -> Tensor:
    r"""
    Attend with dropout of the attention weights, on a processor.

    Args:
        query, key, value (`torch.FloatTensor` of shape `(batch_size, num_heads, sequence_length, head_size)`)
        mask (`torch.Tensor`, broadcast to `(batch_size, num_heads, sequence_length, sequence_length)`, *optional*):
            True where a token may be seen, or numbers added to the scores.
        scaling (`float`): Factor of the scores.
        rate (`float`): Chance of each weight to be dropped, in [0, 1).

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length, num_heads, head_size)`
    """
    return _AttentionWithDropout.apply(query, key, value, mask, scaling, rate).transpose(1, 2)
