"""Attention by plain products on processors, against a plain reference with the same draws."""

import pytest
import torch
from torch.nn import functional as F

from electra_plus import ElectraPlusConfig, ElectraPlusModel
from electra_plus.models import short_attention_electra_plus
from electra_plus.models.dropout_electra_plus import kept_elements
from electra_plus.models.short_attention_electra_plus import short_attention, short_attention_wins


@pytest.mark.parametrize("rate", [0.0, 0.2])
@pytest.mark.parametrize("length", [1, 63, 100])
@pytest.mark.parametrize("kind", [None, "bool", "float"])
def test_attention_is_the_plain_one_with_the_same_draws(length, kind, rate):
    query, key, value = (torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(3))
    mask = None
    if kind:
        mask = torch.ones(2, 1, length, length, dtype=torch.bool)
        mask[1, :, :, length // 2 + 1 :] = False
        if kind == "float":
            mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    torch.manual_seed(5)
    output = short_attention(query, key, value, mask, 0.3, rate)
    gradient = torch.randn(output.shape)
    ours = torch.autograd.grad(output, (query, key, value), gradient)

    torch.manual_seed(5)
    scores = query @ key.transpose(2, 3) * 0.3
    if kind == "bool":
        scores = scores.masked_fill(~mask, float("-inf"))
    elif kind == "float":
        scores = scores + mask
    kept, factor = kept_elements(scores.shape, rate) if rate else (1, 1)
    expected = ((F.softmax(scores, dim=-1) * kept * factor) @ value).transpose(1, 2)
    torch.testing.assert_close(output, expected)
    for mine, theirs in zip(ours, torch.autograd.grad(expected, (query, key, value), gradient), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_heads_may_lie_side_by_side_in_memory():
    query, key, value = (torch.randn(2, 9, 3, 8, requires_grad=True) for _ in range(3))
    by_heads = [states.transpose(1, 2) for states in (query, key, value)]
    output = short_attention(*by_heads, None, 8**-0.5, 0.0)
    expected = F.scaled_dot_product_attention(*by_heads).transpose(1, 2)
    torch.testing.assert_close(output, expected)
    weights = torch.randn(output.shape)
    ours = torch.autograd.grad((output * weights).sum(), (query, key, value))
    for mine, theirs in zip(ours, torch.autograd.grad((expected * weights).sum(), (query, key, value)), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_it_is_taken_with_dropout_and_for_short_rows_in_bfloat16():
    short, long = torch.zeros(1, 1, 8, 4), torch.zeros(1, 1, short_attention_electra_plus.LONGEST + 1, 4)
    assert short_attention_wins(short, short, dropout=0.1) and short_attention_wins(long, long, dropout=0.1)
    assert not short_attention_wins(short, short, dropout=0.0)
    assert short_attention_wins(short.bfloat16(), short.bfloat16(), dropout=0.0)
    assert not short_attention_wins(long.bfloat16(), long.bfloat16(), dropout=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert short_attention_wins(short, short, dropout=0.0)
    assert not short_attention_wins(short.to("meta"), short.to("meta"), dropout=0.1)


@pytest.mark.parametrize("preset", ["tiny", "modern-tiny"])
@pytest.mark.parametrize("packed", [False, True])
def test_bfloat16_is_as_near_to_float32_as_with_the_kernels(preset, packed, monkeypatch):
    torch.manual_seed(0)
    config = ElectraPlusConfig.preset(preset, vocab_size=100, generator_config=None, embedding_sharing="none")
    model = ElectraPlusModel(config).eval()
    ids = torch.randint(5, 100, (2, 40))
    inputs = {"document_ids": torch.arange(40).expand(2, 40) // 15} if packed else {}

    def states_and_gradient(dtype):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            states = model(ids, **inputs).last_hidden_state.float()
        states.square().mean().backward()
        return states.detach(), model.encoder.layer[0].attention.self.key.weight.grad.clone()

    exact = states_and_gradient(torch.float32)
    ours = states_and_gradient(torch.bfloat16)
    monkeypatch.setattr(short_attention_electra_plus, "LONGEST", 0)
    kernels = states_and_gradient(torch.bfloat16)
    for truth, mine, theirs in zip(exact, ours, kernels, strict=True):
        assert not torch.equal(mine, theirs)
        assert (mine - truth).norm() < 1.2 * (theirs - truth).norm()


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_far_from_its_text_gives_no_nan(implementation, dtype):
    # beyond the window of local layers padding may see nothing at all
    config = ElectraPlusConfig.preset(
        "modern-tiny", vocab_size=100, generator_config=None, embedding_sharing="none", local_attention=8
    )
    config.attention_probs_dropout_prob = 0.1
    model = ElectraPlusModel._from_config(config, attn_implementation=implementation)
    mask = (torch.arange(30) < torch.tensor([[30], [2]])).long()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        states = model(torch.randint(5, 100, (2, 30)), mask).last_hidden_state
    assert states.isfinite().all()
    states.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_a_row_that_sees_nothing_is_no_nan():
    query = torch.randn(1, 1, 3, 4, requires_grad=True)
    mask = torch.tensor([[True, True, True], [False, False, False], [True, False, True]])[None, None]
    output = short_attention(query, query, query, mask, 0.5, 0.1)
    output.sum().backward()
    assert output.isfinite().all() and query.grad.isfinite().all()
