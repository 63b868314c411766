"""A last layer that computes only the slots that matter gives the values and gradients of a whole one."""

import pytest
import torch

import electra_plus
from electra_plus import ElectraPlusConfig, ElectraPlusForMaskedLM, ElectraPlusForPreTraining, ElectraPlusModel
from electra_plus.models.objectives_electra_plus import masked_slots

FLAVOURS = {
    "classic": ("tiny", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}),
    "modern": ("modern-tiny", {"local_attention": 8}),
}
BATCHES = ("plain", "padded", "packed")


def batch(kind: str) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 90, (3, 20), generator=rng)
    labels = torch.where(torch.rand(ids.shape, generator=rng) < 0.2, ids, -100)
    labels[1] = -100  # a row without a masked slot
    inputs = {"input_ids": ids.masked_fill(labels != -100, 4), "labels": labels}
    if kind == "padded":
        inputs["attention_mask"] = (torch.arange(20) < torch.tensor([[20], [11], [15]])).long()
        inputs["labels"] = labels.masked_fill(inputs["attention_mask"] == 0, -100)
    if kind == "packed":
        inputs["document_ids"] = (torch.arange(20) // 7).expand(3, 20).masked_fill(torch.arange(20) > 17, -1)
        inputs["labels"] = labels.masked_fill(inputs["document_ids"] < 0, -100)
    return inputs


def joint(flavour: str, **fields) -> ElectraPlusForPreTraining:
    preset, own = FLAVOURS[flavour]
    torch.manual_seed(0)
    return ElectraPlusForPreTraining(ElectraPlusConfig.preset(preset, vocab_size=90, **own, **fields))


def alone(flavour: str, **fields) -> ElectraPlusForMaskedLM:
    preset, own = FLAVOURS[flavour]
    torch.manual_seed(0)
    config = ElectraPlusConfig.preset(preset, vocab_size=90, generator_config=None, sparse_prediction=True, **own)
    return ElectraPlusForMaskedLM._from_config(config, **fields)


def loss_and_gradients(model, inputs) -> list[torch.Tensor]:
    torch.manual_seed(2)
    loss = model.train()(**inputs).loss
    return [loss, *torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)]


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("make", [joint, alone])
@pytest.mark.parametrize("more_slots", [0, 5])
def test_loss_and_gradients_are_those_of_a_whole_layer(make, flavour, kind, more_slots, monkeypatch):
    model, inputs = make(flavour), batch(kind)
    if more_slots:
        inputs["num_masked_slots"] = int((inputs["labels"] != -100).sum()) + more_slots
    lengths = []
    encoder = model.generator.electra.encoder if make is joint else model.electra.encoder
    hook = encoder.register_forward_hook(lambda module, arguments, output: lengths.append(output.shape[1]))
    ours = loss_and_gradients(model, inputs)
    monkeypatch.setattr(ElectraPlusModel, "_last_layer_may_leave_out", lambda *_, **__: False)
    whole = loss_and_gradients(model, inputs)
    hook.remove()
    assert lengths[0] < lengths[1] == 20
    for mine, theirs in zip(ours, whole, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_eager_attention_leaves_out_too():
    model, reference = alone("modern", attn_implementation="eager"), alone("modern", attn_implementation="sdpa")
    for mine, theirs in zip(*(loss_and_gradients(m, batch("packed")) for m in (model, reference)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_whoever_looks_into_the_layers_finds_them_whole():
    model, inputs = alone("modern"), batch("plain")
    slots = masked_slots(inputs["labels"])
    ids = inputs["input_ids"]
    leaves_out = model.electra._last_layer_may_leave_out
    assert leaves_out(ids, slots)
    assert not leaves_out(ids, slots, output_hidden_states=True)
    assert not leaves_out(ids, slots[:0])
    assert not leaves_out(ids, slots.to("meta"))
    assert not leaves_out(ids, slots, attention_mask=torch.ones(3, 1, 1, 20))
    hidden = model(**inputs, output_hidden_states=True).hidden_states
    assert {states.shape[1] for states in hidden} == {20}


def test_long_rows_of_local_layers_are_left_whole():
    preset, own = FLAVOURS["modern"]
    config = ElectraPlusConfig.preset(preset, vocab_size=90, generator_config=None, embedding_sharing="none", **own)
    config.layer_types = ["full_attention", "full_attention", "sliding_attention"]
    model = ElectraPlusModel(config).eval()
    ids = torch.randint(5, 90, (1, 100))
    assert not model._last_layer_may_leave_out(ids, torch.tensor([3]))
    states, _ = model.states_at_slots(ids, torch.tensor([3, 90]))
    torch.testing.assert_close(states, model(ids).last_hidden_state[0, [3, 90]])


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", ["ElectraPlusForSequenceClassification", "ElectraPlusForMultipleChoice"])
def test_heads_that_pool_the_first_token_give_what_they_gave(name, flavour, kind, monkeypatch):
    preset, own = FLAVOURS[flavour]
    torch.manual_seed(0)
    fields = {"classifier_pooling": "cls", "classifier_dropout": 0.0, "summary_last_dropout": 0.0}
    config = ElectraPlusConfig.preset(preset, vocab_size=90, **fields, **own)
    model = getattr(electra_plus, name)(config)
    inputs = batch(kind)
    if kind == "packed":
        # numbers that do not rise from row to row, and padding
        inputs["document_ids"] = (inputs["document_ids"] + torch.tensor([[6], [3], [0]])).masked_fill(
            inputs["document_ids"] < 0, -1
        )
        inputs["labels"] = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0, 1])
    else:
        inputs["labels"] = torch.tensor([1, 0, 1])
    if name == "ElectraPlusForMultipleChoice":
        inputs["labels"] = torch.tensor([2, 0, 1] if kind == "packed" else [1])
        if kind == "packed":
            inputs["num_choices"] = 3
        else:
            inputs |= {key: value[None] for key, value in inputs.items() if key != "labels"}
    lengths = []
    hook = model.electra.encoder.register_forward_hook(
        lambda module, arguments, output: lengths.append(output.shape[1])
    )
    ours = loss_and_gradients(model, inputs)
    monkeypatch.setattr(ElectraPlusModel, "_last_layer_may_leave_out", lambda *_, **__: False)
    whole = loss_and_gradients(model, inputs)
    hook.remove()
    assert lengths[0] <= 3 and lengths[1] == 20
    for mine, theirs in zip(ours, whole, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
