"""Long texts in chunks: what is computed, what it weighs, and that memory is bounded without changing a gradient."""

import pytest
import torch

from electra_plus import ElectraPlusConfig, ElectraPlusForLongSequenceClassification, ElectraPlusModel

FLAVOURS = {"classic": "tiny", "modern": "modern-tiny"}


def make(flavour="modern", **fields):
    torch.manual_seed(0)
    fields = {"num_hidden_layers": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **fields}
    config = ElectraPlusConfig.preset(
        FLAVOURS[flavour], vocab_size=90, chunk_length=10, generator_config=None, **fields
    )
    return ElectraPlusForLongSequenceClassification(config)


def texts(*lengths):
    rng = torch.Generator().manual_seed(1)
    return [torch.randint(5, 90, (length,), generator=rng) for length in lengths]


def padded(rows, left=False):
    width = max(len(row) for row in rows)
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        here = slice(width - len(row), width) if left else slice(0, len(row))
        ids[number, here], mask[number, here] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("left", [False, True])
def test_padding_and_neighbours_change_nothing(flavour, left):
    model = make(flavour).eval()
    rows = texts(33, 4, 95, 10)
    batch = padded(rows, left)
    outputs = model(**batch)
    assert outputs.chunk_weights.shape == (4, 10)
    for number, row in enumerate(rows):
        single = model(row[None])
        assert torch.allclose(outputs.logits[number], single.logits[0], atol=1e-5)
        real = batch["attention_mask"][number].bool()
        assert torch.allclose(outputs.token_weights[number][real], single.token_weights[0], atol=1e-6)
        assert not outputs.token_weights[number][~real].any()
        assert torch.allclose(outputs.chunk_weights[number, : -(-len(row) // 10)], single.chunk_weights[0], atol=1e-6)


def test_weights_are_shares():
    outputs = make()(**padded(texts(33, 4, 95)))
    assert torch.allclose(outputs.chunk_weights.sum(dim=1), torch.ones(3))
    assert torch.allclose(outputs.token_weights.sum(dim=1), torch.ones(3))
    by_chunk = torch.stack([piece.sum(dim=1) for piece in outputs.token_weights.split(10, dim=1)], dim=1)
    assert torch.allclose(by_chunk, outputs.chunk_weights, atol=1e-6)


def test_chunks_are_encoded_alone_and_in_order():
    model = make().eval()
    row = texts(30)[0]
    before = model(row[None])
    changed = row.clone()
    changed[25] = 6
    states = [model.electra(part[None]).last_hidden_state for part in row.split(10)]
    vectors = torch.cat([model.token_pooling(state, torch.ones(1, 10))[0] for state in states])
    related = model._relate_chunks(vectors[None], torch.ones(1, 3, dtype=torch.long))
    pooled, _ = model.chunk_pooling(related, torch.ones(1, 3))
    assert torch.allclose(model.classifier(pooled[:, None], None), before.logits, atol=1e-5)
    swapped = torch.cat([row[10:20], row[:10], row[20:]])
    assert not torch.allclose(model(swapped[None]).logits, before.logits, atol=1e-6)  # the order of chunks counts
    assert not torch.allclose(model(changed[None]).logits, before.logits, atol=1e-7)


def test_without_chunk_layers_chunks_are_weighed_alone():
    model = make(num_chunk_layers=0).eval()
    row = texts(30)[0]
    swapped = torch.cat([row[10:20], row[:10], row[20:]])
    ours, other = model(row[None]), model(swapped[None])
    assert torch.allclose(ours.logits, other.logits, atol=1e-6)
    assert torch.allclose(ours.chunk_weights[0], other.chunk_weights[0, [1, 0, 2]], atol=1e-6)


def test_borders_can_be_given():
    model = make().eval()
    row = texts(25)[0]
    chunk_ids = torch.tensor([[0] * 10 + [1] * 10 + [2] * 5])
    assert torch.allclose(model(row[None], chunk_ids=chunk_ids).logits, model(row[None]).logits, atol=1e-6)
    sentences = torch.tensor([[3] * 4 + [5] * 15 + [9] * 6])  # any rising numbers
    outputs = model(row[None], chunk_ids=sentences)
    assert outputs.chunk_weights.shape == (1, 3)
    assert outputs.token_weights[0, 4:19].sum().item() == pytest.approx(outputs.chunk_weights[0, 1].item(), abs=1e-6)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_few_chunks_in_memory_give_the_same_gradients(flavour):
    batch = padded(texts(95, 33))
    found = []
    for chunks_at_once in (3, 100):
        model = make(flavour, chunks_at_once=chunks_at_once).train()
        loss = model(**batch, labels=torch.tensor([0, 1])).loss
        loss.backward()
        found.append((loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (loss, gradients), (expected_loss, expected) = found
    assert torch.allclose(loss, expected_loss, atol=1e-6) and gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(gradients[name], gradient, atol=1e-5 * max(1.0, gradient.abs().max().item())), name


def test_few_chunks_in_memory_keep_fewer_activations():
    def kept(chunks_at_once):
        model = make(chunks_at_once=chunks_at_once).train()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            model(texts(400)[0][None], labels=torch.tensor([1])).loss  # noqa: B018
        return sum(sizes)

    assert kept(2) < 0.35 * kept(100)


def test_learns_where_the_evidence_is():
    model = make(classifier_dropout=0.0, num_labels=2).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rng = torch.Generator().manual_seed(0)

    def batch(size):  # the label is which of two tokens stands somewhere in 60
        ids = torch.randint(10, 90, (size, 60), generator=rng)
        labels = torch.randint(0, 2, (size,), generator=rng)
        places = torch.randint(0, 60, (size,), generator=rng)
        ids[torch.arange(size), places] = 5 + labels
        return ids, labels, places

    for _ in range(60):
        ids, labels, _ = batch(32)
        model(ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    ids, labels, places = batch(200)
    with torch.no_grad():
        outputs = model.eval()(ids)
    assert (outputs.logits.argmax(dim=1) == labels).float().mean() > 0.9
    assert (outputs.chunk_weights.argmax(dim=1) == places // 10).float().mean() > 0.8


def test_pretrained_encoder_is_taken_over_and_the_folder_opens_again(tmp_path):
    model = make()
    encoder = ElectraPlusModel(model.config)
    encoder.save_pretrained(tmp_path / "encoder")
    started, info = ElectraPlusForLongSequenceClassification.from_pretrained(
        tmp_path / "encoder", output_loading_info=True
    )
    assert torch.equal(started.electra.get_input_embeddings().weight, encoder.get_input_embeddings().weight)
    new = {name.split(".")[0] for name in info["missing_keys"]}
    assert new == {"token_pooling", "chunk_encoder", "chunk_pooling", "classifier"}
    model.save_pretrained(tmp_path / "long")
    loaded, info = ElectraPlusForLongSequenceClassification.from_pretrained(tmp_path / "long", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    row = texts(35)[0][None]
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    # the last bit of a product depends on where in memory its factors lie
    torch.testing.assert_close(loaded.eval()(row).logits, model.eval()(row).logits, rtol=1e-6, atol=1e-7)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match=r"`attention_mask` hides every token of rows \[1\]"):
        make()(**padded([*texts(5), torch.zeros(0, dtype=torch.long)]))
    with pytest.raises(ValueError, match=r"`chunk_length` \(200\) must not exceed `max_position_embeddings` \(64\)"):
        ElectraPlusForLongSequenceClassification(
            ElectraPlusConfig.preset("tiny", chunk_length=200, max_position_embeddings=64)
        )
    with pytest.raises(ValueError, match="`num_chunk_layers` must not be negative, got -1"):
        ElectraPlusConfig.preset("tiny", num_chunk_layers=-1)
    with pytest.raises(ValueError, match="`chunks_at_once` must be at least 1"):
        ElectraPlusConfig.preset("tiny", chunks_at_once=0)
