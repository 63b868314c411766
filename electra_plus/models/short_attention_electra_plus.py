"""
Attention of short rows on processors: plain matrix products, which torch's attention kernels fall behind in two cases.

With dropout they have none for processors, and torch falls back to slow draws. In bfloat16 their backward pass takes three times
as long at 128 tokens, and as long at 1,024 (measured on a processor with bfloat16 instructions). The weights of the whole row are
kept for the backward pass, so long rows without dropout are left to the kernels.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout_electra_plus import draws_fast, kept_elements

LONGEST = 512  # keys; beyond, the kernels win or the weights take too much memory


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, rate: float):
        # each product would make its own copy of what lies head by head in memory, now and in the backward pass
        query, key, value = (states.contiguous() for states in (query * scaling, key, value))
        weights = torch.matmul(query, key.transpose(2, 3))
        if mask is not None:
            weights = weights.add_(mask_to_add(mask, weights.dtype))
        weights = weights.softmax(dim=-1)
        kept, ctx.factor = kept_elements(weights.shape, rate) if rate else (None, 1.0)
        ctx.scaling = scaling
        ctx.save_for_backward(query, key, value, weights, kept)
        if kept is None:
            return torch.matmul(weights, value)
        return torch.matmul(weights * kept, value).mul_(ctx.factor)  # the factor where it meets fewest numbers

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        query, key, value, weights, kept = ctx.saved_tensors
        gradient = gradient.contiguous()
        if kept is not None:
            gradient = gradient * ctx.factor
        of_value = torch.matmul((weights if kept is None else weights * kept).transpose(2, 3), gradient)
        of_weights = torch.matmul(gradient, value.transpose(2, 3))
        if kept is not None:
            of_weights.mul_(kept)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.matmul(of_scores, key).mul_(ctx.scaling)
        return of_query, torch.matmul(of_scores.transpose(2, 3), query), of_value, None, None, None


def short_attention_wins(query: Tensor, key: Tensor, dropout: float) -> bool:
    """Whether [`short_attention`] is the fastest for these tensors, of shapes as there."""
    if not draws_fast(query):
        return False
    return dropout > 0 or (compute_dtype(query) == torch.bfloat16 and key.shape[-2] <= LONGEST)


def short_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, rate: float
) -> Tensor:
    r"""
    Attend, with dropout of the attention weights, on a processor; under autocast in its type, as torch's attention does.

    Args:
        query, key, value (`torch.FloatTensor` of shape `(batch_size, num_heads, sequence_length, head_size)`)
        mask (`torch.Tensor`, broadcast to `(batch_size, num_heads, sequence_length, sequence_length)`, *optional*):
            True where a token may be seen, or numbers added to the scores.
        scaling (`float`): Factor of the scores.
        rate (`float`): Chance of each weight to be dropped, in [0, 1).

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length, num_heads, head_size)`
    """
    dtype = compute_dtype(query)
    query, key, value = (states.to(dtype) for states in (query, key, value))
    return _ShortAttention.apply(query, key, value, mask, scaling, rate).transpose(1, 2)


def compute_dtype(states: Tensor) -> torch.dtype:
    """Return the type in which matrix products of a tensor are computed: autocast's, if that is on."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def mask_to_add(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    r"""
    Turn a mask of booleans into numbers, once for all layers: on processors each layer's attention would do that for itself.

    Args:
        mask (`torch.BoolTensor` of any shape, *optional*): True where a token may be seen. Another mask is returned as it is.
        dtype (`torch.dtype`): Of the scores.

    Returns:
        `torch.FloatTensor` of that shape: 0 where a token may be seen, else the lowest number: with -inf a row that may see
        nothing, such as padding far from its text, would be NaN.
    """
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
