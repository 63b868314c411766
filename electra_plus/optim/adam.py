"""The original's Adam."""

import torch
from torch.optim import AdamW

STEPS_TAKEN = 2.0**24  # a step that float32 does not count on from; beta ** step is 0, and nothing is corrected


class AdamWithoutBiasCorrection(AdamW):
    r"""
    Adam as released with BERT and ELECTRA: no bias correction, and weight decay added to the step.

    Its first steps are larger than Adam's by up to `sqrt(1 - beta2) ** -1` times `1 - beta1`, which warm-up hides. It is torch's
    fused AdamW, which believes that it has taken endless steps before.

    Args:
        params: Parameters or groups of them.
        lr (`float`, *optional*, defaults to 5e-4): Learning rate.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.9, 0.999)`): Decay rates of the moments.
        eps (`float`, *optional*, defaults to 1e-6): Added to the root of the second moment.
        weight_decay (`float`, *optional*, defaults to 0.01): Times the learning rate, as in AdamW.

    Example:

    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdamWithoutBiasCorrection([weight], lr=0.1, betas=(0.9, 0.99), eps=0.0, weight_decay=0.0)
    >>> weight.grad = torch.tensor([3.0])
    >>> optimizer.step()  # 0.1 * (0.1 * 3) / sqrt(0.01 * 9) = 0.1
    >>> weight.item()
    0.8999...

    Source: google-research/electra, `model/optimization.py`, `AdamWeightDecayOptimizer`.
    """

    def __init__(
        self,
        params,
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ):
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"`lr`, `eps` and `weight_decay` must not be negative and `betas` in [0, 1), got {lr}, {eps}, "
                f"{weight_decay} and {betas}."
            )
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)

    def step(self, closure=None):
        """Take a step; with `closure`, which computes loss and gradients, return its loss."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not self.state.get(parameter):
                    self.state[parameter] = {
                        "step": torch.tensor(STEPS_TAKEN, device=parameter.device),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }
        return super().step(closure)
