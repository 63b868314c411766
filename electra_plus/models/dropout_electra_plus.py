"""
Dropout on processors, where the random numbers are what it costs.

torch draws one number for each element, one after the other. Here one 64-bit draw decides four elements: a third of the time, and
a mask of one byte an element instead of four to keep for the backward pass. On accelerators and under `torch.compile` torch's
own dropout is as good and is used.
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
        `tuple`: a `torch.CharTensor` of that shape, 1 to keep and 0 to drop (torch has no fast conversion of booleans to numbers),
        and the factor that keeps the mean.
    """
    dropped = round(rate * STEPS)
    numel = shape.numel()
    # all 64 bits: without bounds the sign bit would always be 0
    draws = torch.empty(-(-numel // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = draws.ge_(dropped - STEPS // 2).to(torch.int8)
    return kept[:numel].view(shape), STEPS / (STEPS - dropped)


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
