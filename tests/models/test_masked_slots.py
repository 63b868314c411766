"""The head over the vocabulary, part by part, against the plain functions: values, gradients and draws."""

import pytest
import torch

from electra_plus.models import masked_slots_electra_plus
from electra_plus.models.masked_slots_electra_plus import masked_slot_figures
from electra_plus.models.objectives_electra_plus import masked_lm_loss, sample_replacements


def inputs(num_slots: int, vocab_size: int = 300, width: int = 6):
    rng = torch.Generator().manual_seed(num_slots)
    states, weight = (torch.randn(n, width, generator=rng, requires_grad=True) for n in (num_slots, vocab_size))
    bias = torch.randn(vocab_size, generator=rng, requires_grad=True)
    return states, weight, bias, torch.randint(0, vocab_size, (num_slots,), generator=rng)


@pytest.mark.parametrize("num_slots", [0, 1, 63, 100])
@pytest.mark.parametrize("at_once", [7, 1000])
def test_values_and_gradients_are_the_plain_ones(num_slots, at_once, monkeypatch):
    monkeypatch.setitem(masked_slots_electra_plus.SCORES_AT_ONCE, "cpu", at_once * 300)
    states, weight, bias, ids = inputs(num_slots)
    ids[::5] = -100  # no masked slot
    loss, drawn, accuracy = masked_slot_figures(states, weight, bias, ids)
    ours = torch.autograd.grad(3 * loss, (states, weight, bias))

    logits = states @ weight.T + bias
    expected = masked_lm_loss(logits, ids)
    torch.testing.assert_close(loss, expected)
    counted = ids != -100
    right = (logits.argmax(dim=-1) == ids)[counted].float().sum() / counted.sum().clamp(min=1)
    torch.testing.assert_close(accuracy, right)
    for mine, theirs in zip(ours, torch.autograd.grad(3 * expected, (states, weight, bias)), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert drawn.shape == (num_slots,) and not drawn.requires_grad


@pytest.mark.parametrize(("temperature", "forbid"), [(1.0, False), (1.7, False), (1.0, True), (0.5, True)])
def test_draws_are_those_of_the_plain_function(temperature, forbid):
    states, weight, bias, ids = inputs(50)
    torch.manual_seed(3)
    _, drawn, _ = masked_slot_figures(states, weight, bias, ids, temperature, forbid)
    torch.manual_seed(3)
    logits = states @ weight.T + bias
    assert torch.equal(drawn, sample_replacements(logits, temperature, ids if forbid else None))
    assert not forbid or (drawn != ids).all()


def test_nothing_is_kept_where_nothing_learns():
    states, weight, bias, ids = inputs(5)
    with torch.no_grad():
        loss, _, _ = masked_slot_figures(states, weight, bias, ids)
    assert not loss.requires_grad
    loss, _, _ = masked_slot_figures(states.detach(), weight.detach(), bias.detach(), ids)
    assert not loss.requires_grad


def test_mixed_precision_stays_near():
    states, weight, bias, ids = inputs(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _, _ = masked_slot_figures(states, weight, bias, ids)
    ours = torch.autograd.grad(loss, (states, weight, bias))
    expected = masked_lm_loss(states @ weight.T + bias, ids)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)  # bfloat16 has 8 bits
    for mine, theirs in zip(ours, torch.autograd.grad(expected, (states, weight, bias)), strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, theirs, rtol=0.1, atol=3e-3)


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="must be > 0"):
        masked_slot_figures(*inputs(2), temperature=0.0)
