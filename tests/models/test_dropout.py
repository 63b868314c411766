"""Dropout on processors: the rate, the mean, and values and gradients against a plain reference with the same draws."""

import pytest
import torch

from electra_plus.models.dropout_electra_plus import ElectraPlusDropout, kept_elements


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_mean_are_as_asked(rate):
    kept, factor = kept_elements(torch.Size((1000, 1000)), rate)
    share = kept.float().mean().item()
    assert share == pytest.approx(1 - rate, abs=5 * (rate * (1 - rate)) ** 0.5 / 1000)  # five standard errors
    assert factor == pytest.approx(1 / (1 - rate), rel=1e-3)


def test_neighbours_are_dropped_independently():
    # four elements come from one draw
    kept, _ = kept_elements(torch.Size((250_000, 4)), 0.5)
    kept = kept.float() - 0.5
    correlations = (kept.T @ kept / len(kept) * 4).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / 500  # of 250,000 pairs: five standard errors


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 5, 63)])
def test_dropout_is_the_plain_one_with_the_same_draws(shape):
    states = torch.randn(shape, requires_grad=True)
    dropout = ElectraPlusDropout(0.3)
    torch.manual_seed(5)
    output = dropout(states)
    torch.manual_seed(5)
    kept, factor = kept_elements(states.shape, 0.3)
    torch.testing.assert_close(output, states * kept * factor)
    weights = torch.randn(shape)
    (output * weights).sum().backward()
    torch.testing.assert_close(states.grad, weights * kept * factor)


def test_without_training_or_rate_nothing_changes():
    states = torch.randn(4, 4)
    assert torch.equal(ElectraPlusDropout(0.3).eval()(states), states)
    assert torch.equal(ElectraPlusDropout(0.0)(states), states)
