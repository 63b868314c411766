"""Optimizers and schedules against plain references."""

import copy

import pytest
import torch
from torch import nn

from electra_plus.optim.adam import AdamWithoutBiasCorrection
from electra_plus.optim.muon import MuonWithAdamW
from electra_plus.optim.schedules import original_multiplier, original_schedule


def steps(optimizer, parameters, seed: int = 0, number: int = 5) -> None:
    rng = torch.Generator().manual_seed(seed)
    for _ in range(number):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        optimizer.step()


def test_original_adam_is_the_plain_formula():
    weight = nn.Parameter(torch.linspace(-1, 1, 6).view(2, 3))
    expected, first, second = weight.detach().clone(), torch.zeros(2, 3), torch.zeros(2, 3)
    optimizer = AdamWithoutBiasCorrection([weight], lr=0.01, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.1)
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        weight.grad = torch.randn(2, 3, generator=rng)
        first = 0.9 * first + 0.1 * weight.grad
        second = 0.999 * second + 0.001 * weight.grad**2
        expected -= 0.01 * (first / (second.sqrt() + 1e-6) + 0.1 * expected)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), expected)


def test_original_adam_leaves_parameters_without_gradient_alone():
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = AdamWithoutBiasCorrection([moved, still])
    moved.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still.detach(), torch.ones(2)) and not torch.equal(moved.detach(), torch.ones(2))


def test_original_adam_refuses_negative_numbers():
    with pytest.raises(ValueError, match="must not be negative"):
        AdamWithoutBiasCorrection([nn.Parameter(torch.ones(1))], lr=-1.0)


def muon_groups() -> tuple[list[nn.Parameter], list[dict]]:
    rng = torch.Generator().manual_seed(1)
    matrix, table, bias = (nn.Parameter(torch.randn(shape, generator=rng)) for shape in ((8, 8), (9, 4), (4,)))
    return [matrix, table, bias], [
        {"params": [matrix], "use_muon": True, "lr": 0.02, "weight_decay": 0.1},
        {"params": [table, bias], "use_muon": False, "lr": 0.01, "weight_decay": 0.0},
    ]


def test_muon_and_adamw_move_as_alone():
    parameters, groups = muon_groups()
    alone = copy.deepcopy(parameters)
    muon = torch.optim.Muon([alone[0]], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(alone[1:], lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0, fused=True)
    optimizer = MuonWithAdamW(groups)
    rng = torch.Generator().manual_seed(0)
    for _ in range(4):
        for parameter, other in zip(parameters, alone, strict=True):
            parameter.grad = torch.randn(parameter.shape, generator=rng)
            other.grad = parameter.grad.clone()
        optimizer.step()
        muon.step()
        adamw.step()
    for parameter, other in zip(parameters, alone, strict=True):
        assert torch.equal(parameter, other)


def test_muon_with_adamw_goes_on_from_its_state():
    parameters, groups = muon_groups()
    optimizer = MuonWithAdamW(groups)
    steps(optimizer, parameters)
    saved, weights = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in parameters]
    steps(optimizer, parameters, seed=1)

    resumed, groups = muon_groups()
    again = MuonWithAdamW(groups)
    with torch.no_grad():
        for parameter, weight in zip(resumed, weights, strict=True):
            parameter.copy_(weight)
    again.load_state_dict(saved)
    steps(again, resumed, seed=1)
    for parameter, other in zip(resumed, parameters, strict=True):
        assert torch.equal(parameter, other)


def test_a_scheduler_reaches_both_parts():
    parameters, groups = muon_groups()
    optimizer = MuonWithAdamW(groups)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 0))
    before = [p.detach().clone() for p in parameters]
    steps(optimizer, parameters, number=1)
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))  # rate 0
    scheduler.step()
    steps(optimizer, parameters, number=1)
    assert not any(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))


def test_original_schedule_warms_up_and_decays_at_once():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    scheduler = original_schedule(optimizer, num_warmup_steps=2, num_training_steps=4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [0.0, 0.75, 1.0, 0.5]
    assert original_multiplier(1, 0, 2) == 0.5
