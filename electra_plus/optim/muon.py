"""Muon for the matrices of the layers, AdamW for everything else, as one optimizer."""

import torch
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    r"""
    Muon for parameter groups with `use_muon`, fused AdamW for the others, with one state and one list of groups.

    Muon's steps are scaled to the size of AdamW's, so that both take the same learning rate and weight decay.

    Args:
        params: Parameter groups; `use_muon` (`bool`) says which optimizer a group gets, and such a group holds matrices only.
        lr (`float`, *optional*, defaults to 1e-3): Learning rate of both.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.9, 0.98)`): Of AdamW.
        eps (`float`, *optional*, defaults to 1e-6): Of AdamW.
        weight_decay (`float`, *optional*, defaults to 0.01): Of both.
        momentum (`float`, *optional*, defaults to 0.95): Of Muon.

    Raises:
        ValueError: A group with `use_muon` holds something other than a matrix, or a number is out of range.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; Liu et al. 2025, https://arxiv.org/abs/2502.16982,
    section 2.2 for the scale; the implementations are torch's.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "use_muon": False})
        of_muon, of_adamw = self._split()
        self._parts: list[Optimizer] = []
        if of_muon:
            self._parts.append(Muon(of_muon, momentum=momentum, adjust_lr_fn="match_rms_adamw"))
        if of_adamw:
            self._parts.append(AdamW(of_adamw, betas=betas, eps=eps, fused=True))
        self._share()

    def _split(self) -> tuple[list[dict], list[dict]]:
        return tuple([group for group in self.param_groups if group["use_muon"] is kind] for kind in (True, False))

    def _share(self) -> None:
        """Let both parts work on the groups and the state of this optimizer, which schedulers and checkpoints know."""
        for part in self._parts:
            part.state = self.state
            part.param_groups = self._split()[0 if isinstance(part, Muon) else 1]

    def load_state_dict(self, state_dict: dict) -> None:
        """Load what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure=None):
        """Take a step; with `closure`, which computes loss and gradients, return its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
