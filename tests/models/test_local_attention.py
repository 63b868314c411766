"""Local attention in blocks gives what attention with a mask of the whole row gives, in values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from electra_plus import ElectraPlusConfig, ElectraPlusModel
from electra_plus.models.local_attention_electra_plus import block_attention, block_mask


def whole_row_mask(length, window, visible=None, documents=None):
    """Return the reference: `(batch_size, 1, length, length)`, `True` where a token may look."""
    tokens = torch.arange(length)
    allowed = ((tokens[:, None] - tokens).abs() <= window)[None]
    if visible is not None:
        allowed = allowed & visible.bool()[:, None]
    if documents is not None:
        allowed = allowed & (documents[:, :, None] == documents[:, None])
    return (allowed | torch.eye(length, dtype=torch.bool))[:, None]


@pytest.mark.parametrize("window", [1, 3, 10])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 33, 100])
@pytest.mark.parametrize("hidden", ["nothing", "padding", "documents", "both"])
def test_blocks_equal_a_mask_of_the_whole_row(window, length, hidden):
    torch.manual_seed(0)
    query, key, value, weights = (torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(4))
    visible = torch.arange(length) < torch.tensor([[length], [max(1, length // 3)]])
    documents = torch.randint(0, 2, (2, length)).cumsum(dim=1)
    given = {
        "visible": visible if hidden in ("padding", "both") else None,
        "documents": documents if hidden in ("documents", "both") else None,
    }
    reference = F.scaled_dot_product_attention(query, key, value, attn_mask=whole_row_mask(length, window, **given))
    mask = block_mask(length, window, 2, torch.float32, "cpu", **given)
    ours = block_attention(query, key, value, mask).transpose(1, 2)
    assert torch.allclose(ours, reference, atol=1e-6)
    for found, expected in zip(
        torch.autograd.grad((ours * weights).sum(), (query, key, value)),
        torch.autograd.grad((reference * weights).sum(), (query, key, value)),
        strict=True,
    ):
        assert torch.allclose(found, expected, atol=1e-5)


def modern(implementation, **fields):
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=50, local_attention=8, num_hidden_layers=4, **fields)
    torch.manual_seed(0)
    model = ElectraPlusModel._from_config(config, attn_implementation=implementation)
    return model


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("length", [10, 17, 70])
def test_model_gives_the_eager_reference(length, padded):
    ours, reference = modern("sdpa"), modern("eager")
    reference.load_state_dict(ours.state_dict())
    input_ids = torch.randint(5, 50, (2, length))
    attention_mask = torch.ones_like(input_ids)
    if padded:
        attention_mask[1, length // 2 :] = 0
    weights = torch.randn(2, length, 128) * attention_mask[..., None]
    for model in (ours, reference):
        (model(input_ids, attention_mask=attention_mask).last_hidden_state * weights).sum().backward()
    states = [model(input_ids, attention_mask=attention_mask).last_hidden_state for model in (ours, reference)]
    real = attention_mask.bool()
    assert torch.allclose(states[0][real], states[1][real], atol=1e-5)
    for (name, parameter), other in zip(ours.named_parameters(), reference.parameters(), strict=True):
        limit = 1e-4 * other.grad.abs().max() + 1e-6
        assert (parameter.grad - other.grad).abs().max() <= limit, name


def test_long_rows_make_no_mask_of_the_whole_row(monkeypatch):
    from electra_plus.models import modeling_electra_plus

    def refuse(**kwargs):
        raise AssertionError("a mask of length times length")

    monkeypatch.setattr(modeling_electra_plus, "create_bidirectional_sliding_window_mask", refuse)
    model = modern("sdpa")
    model(torch.randint(5, 50, (1, 100)))
    with pytest.raises(AssertionError, match="length times length"):
        modern("eager")(torch.randint(5, 50, (1, 100)))


def test_padding_alone_gives_finite_states_and_gradients():
    model = modern("sdpa")
    input_ids = torch.randint(5, 50, (2, 100))
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 10:] = 0
    states = model(input_ids, attention_mask=attention_mask).last_hidden_state
    states.sum().backward()
    assert states.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
