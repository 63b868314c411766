import math

import pytest
import torch
from torch.nn import functional as F

from electra_plus.models.objectives_electra_plus import (
    masked_lm_loss,
    replaced_token_detection_loss,
    replaced_token_labels,
    sample_replacements,
)


def _gumbel(uniform: torch.Tensor) -> torch.Tensor:
    """The noise of the released code's draw."""
    return -(-(uniform + 1e-9).log() + 1e-9).log()


def frequencies(draws: torch.Tensor, vocab_size: int) -> torch.Tensor:
    return torch.bincount(draws, minlength=vocab_size) / len(draws)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_draws_follow_the_softmax(temperature):
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5]]).expand(50_000, -1)
    drawn = sample_replacements(logits, temperature, rng=rng())
    expected = (logits[0] / temperature).softmax(dim=-1)
    # 50,000 draws: standard deviation of a frequency is at most 0.0023
    assert (frequencies(drawn, 5) - expected).abs().max() < 0.01


def test_draws_have_the_distribution_of_gumbel_max():
    logits = torch.randn(1, 30, generator=rng(1)).expand(50_000, -1)
    reference = (logits + _gumbel(torch.rand(logits.shape, generator=rng(2)))).argmax(dim=-1)
    drawn = sample_replacements(logits, rng=rng(3))
    assert (frequencies(drawn, 30) - frequencies(reference, 30)).abs().max() < 0.01


@pytest.mark.parametrize("vocab_size", [1, 127, 128, 129, 300])
def test_every_token_is_drawn_as_often_as_it_should_be_whatever_the_blocks(vocab_size):
    logits = torch.randn(vocab_size, generator=rng(vocab_size))
    drawn = sample_replacements(logits.expand(200_000, -1), rng=rng())
    expected = logits.softmax(dim=-1)
    # five standard deviations of a frequency
    tolerance = 5 * (expected * (1 - expected) / 200_000).sqrt() + 1e-9
    assert ((frequencies(drawn, vocab_size) - expected).abs() <= tolerance).all()


@pytest.mark.parametrize("likely", [0, 127, 128, 299])
def test_a_sure_token_is_drawn_wherever_it_stands(likely):
    logits = torch.full((500, 300), float("-inf"))
    logits[:, likely] = 0.0
    assert (sample_replacements(logits, rng=rng()) == likely).all()


def test_forbidden_token_is_never_drawn():
    original_ids = torch.arange(1000) % 5
    drawn = sample_replacements(torch.zeros(1000, 5), forbidden_ids=original_ids, rng=rng())
    assert (drawn != original_ids).all()
    # not even when it has nearly all the probability and is the last entry
    logits = torch.zeros(1000, 5)
    logits[:, 4] = 80.0
    drawn = sample_replacements(logits, forbidden_ids=torch.full((1000,), 4), rng=rng())
    assert (drawn != 4).all()


def test_impossible_tokens_are_never_drawn():
    logits = torch.full((2000, 6), float("-inf"))
    logits[:, 2] = 0.0
    assert (sample_replacements(logits, rng=rng()) == 2).all()


def test_low_temperature_takes_the_likeliest_token():
    logits = torch.randn(200, 50, generator=rng())
    assert torch.equal(sample_replacements(logits, 1e-6, rng=rng()), logits.argmax(dim=-1))


def test_half_precision_logits_are_drawn_in_float32():
    logits = torch.zeros(20_000, 300, dtype=torch.bfloat16)
    # bfloat16 sums stop growing at 256 equal terms; a draw in it would miss the last tokens
    assert frequencies(sample_replacements(logits, rng=rng()), 300)[256:].sum() > 0.1


def test_draws_pass_no_gradient_and_stay_in_the_vocabulary():
    logits = torch.randn(100, 7, requires_grad=True)
    drawn = sample_replacements(logits, rng=rng())
    assert not drawn.requires_grad
    assert drawn.dtype == torch.long
    assert drawn.min() >= 0 and drawn.max() < 7
    assert sample_replacements(torch.empty(0, 7)).shape == (0,)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match=r"must be > 0.*argmax"):
        sample_replacements(torch.zeros(1, 2), temperature)


def test_correct_guess_is_labelled_original():
    corrupted = torch.tensor([[2, 7, 8, 3, 0]])
    original = torch.tensor([[2, 7, 9, 3, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    assert replaced_token_labels(corrupted, original, mask).tolist() == [[0, 0, 1, 0, -100]]
    assert replaced_token_labels(corrupted, original).tolist() == [[0, 0, 1, 0, 0]]


def test_losses_of_four_tokens_worked_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0), -math.log(3.0), 5.0]])
    labels = torch.tensor([[1, 1, 0, -100]])
    # sigmoid: 1/2, 3/4, 1/4
    expected = (-math.log(1 / 2) - math.log(3 / 4) - math.log(3 / 4)) / 3
    assert replaced_token_detection_loss(logits, labels).item() == pytest.approx(expected)
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    assert masked_lm_loss(scores, torch.tensor([0, 2])).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_losses_without_a_counted_token_are_zero_with_zero_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = replaced_token_detection_loss(logits, torch.full((2, 3), -100))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
    empty = torch.empty(0, 7, requires_grad=True)
    loss = masked_lm_loss(empty, torch.empty(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_detection_loss_equals_the_plain_reference_in_value_and_gradient():
    logits = torch.randn(3, 63, generator=rng()).requires_grad_()
    labels = torch.randint(-1, 2, (3, 63), generator=rng())
    labels[labels == -1] = -100
    counted = labels != -100
    expected = F.binary_cross_entropy_with_logits(logits[counted], labels[counted].float())
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    loss = replaced_token_detection_loss(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
