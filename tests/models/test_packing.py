"""Packed, padded and one-by-one runs agree in values and gradients, for every head and both flavours."""

import inspect

import pytest
import torch
import transformers

import electra_plus
from electra_plus import ElectraPlusConfig
from electra_plus.data.packing import DataCollatorForPacking
from electra_plus.models.packing_electra_plus import flash_arguments, packed_attention_mask, unpack_documents

LENGTHS = (5, 30, 9, 3, 21, 12)
FLAVOURS = {
    "classic": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "modern": {"local_attention": 8, "num_hidden_layers": 4},
}


class Tokenizer:
    pad_token_id = 0


def documents(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 90, (length,), generator=rng).tolist() for length in LENGTHS]


def make(name, flavour, implementation="sdpa", **fields):
    preset = {"classic": "tiny", "modern": "modern-tiny"}[flavour]
    config = ElectraPlusConfig.preset(
        preset, vocab_size=90, **{**FLAVOURS[flavour], **fields}, classifier_dropout=0.0, summary_last_dropout=0.0
    )
    torch.manual_seed(0)
    model = getattr(electra_plus, name)._from_config(config, attn_implementation=implementation)
    with torch.no_grad():  # biases and norms start at 0 and 1, where a wrong row could hide
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def packed_batch(row_length=40):
    batch = DataCollatorForPacking(Tokenizer(), row_length)([{"input_ids": ids} for ids in documents()])
    assert (batch["document_ids"] == -1).any() and batch["document_ids"].shape[0] < len(LENGTHS)
    return batch


def one_by_one(model, field="last_hidden_state"):
    return [getattr(model(torch.tensor([ids])), field)[0] for ids in documents()]


def gradients(model, value):
    model.zero_grad()
    value.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        limit = 1e-5 * max(1.0, gradient.abs().max().item())
        assert (found[name] - gradient).abs().max() <= limit, name


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("given", ["document_ids", "position_ids", "both"])
def test_states_and_gradients_of_the_encoder(flavour, implementation, given):
    model = make("ElectraPlusModel", flavour, implementation)
    batch = packed_batch()
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    names = ("document_ids", "position_ids") if given == "both" else (given,)
    states = model(**inputs, **{name: batch[name] for name in names}).last_hidden_state
    singles = one_by_one(model)
    weights = [torch.randn_like(single) for single in singles]
    for number, single in enumerate(singles):
        assert torch.allclose(states[batch["document_ids"] == number], single, atol=1e-5)
    value = sum((states[batch["document_ids"] == n] * w).sum() for n, w in enumerate(weights))
    found = gradients(model, value)
    expected = gradients(model, sum((s * w).sum() for s, w in zip(one_by_one(model), weights, strict=True)))
    assert_equal_gradients(found, expected)


@pytest.mark.slow  # flex attention compiles its kernel
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_flex_attention_sees_what_sdpa_sees(flavour, packed):
    batch = packed_batch()
    real = batch["attention_mask"].bool()
    if not packed:
        batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():  # on a CPU it has no gradients
        expected, states = (
            make("ElectraPlusModel", flavour, implementation).eval()(**batch).last_hidden_state[real]
            for implementation in ("sdpa", "flex_attention")
        )
    assert torch.allclose(states, expected, atol=1e-5)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_cumulative_lengths_of_one_row(flavour):
    model = make("ElectraPlusModel", flavour)
    row = torch.tensor([[token for ids in documents() for token in ids]])
    cu_seq_lens = torch.tensor([0, *LENGTHS]).cumsum(0).int()
    states = model(row, cu_seq_lens_q=cu_seq_lens).last_hidden_state[0].split(LENGTHS)
    for ours, single in zip(states, one_by_one(model), strict=True):
        assert torch.allclose(ours, single, atol=1e-5)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_sequence_classification_gives_a_row_for_each_document(flavour, pooling):
    model = make("ElectraPlusForSequenceClassification", flavour, classifier_pooling=pooling, num_labels=3)
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    features = [{"input_ids": ids, "labels": label} for ids, label in zip(documents(), labels.tolist(), strict=True)]
    packed = model(**DataCollatorForPacking(Tokenizer(), 40)(features))
    padded_ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in documents()], batch_first=True)
    padded = model(padded_ids, attention_mask=(padded_ids != 0).long(), labels=labels)
    assert torch.allclose(packed.logits, padded.logits, atol=1e-5)
    assert torch.allclose(packed.logits, torch.stack(one_by_one(model, "logits")), atol=1e-5)
    assert packed.loss.item() == pytest.approx(padded.loss.item(), abs=1e-5)
    assert_equal_gradients(gradients(model, packed.loss), gradients(model, padded.loss))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_question_answering_gives_a_row_for_each_document(flavour):
    model = make("ElectraPlusForQuestionAnswering", flavour)
    ends = {"start_positions": torch.tensor([1, 20, 3, 0, 9, 99]), "end_positions": torch.tensor([2, 29, 8, 2, 20, 99])}
    batch = packed_batch()
    packed = model(**batch, **ends)
    padded_ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in documents()], batch_first=True)
    padded = model(padded_ids, attention_mask=(padded_ids != 0).long())
    for number, length in enumerate(LENGTHS):
        assert torch.allclose(packed.start_logits[number, :length], padded.start_logits[number, :length], atol=1e-5)
        assert torch.allclose(packed.end_logits[number, :length], padded.end_logits[number, :length], atol=1e-5)
        assert (packed.start_logits[number, length:] < -1e30).all()
    singles = [model(torch.tensor([ids])) for ids in documents()]
    losses = [
        torch.nn.functional.cross_entropy(getattr(single, f"{end}_logits"), ends[f"{end}_positions"][number, None])
        for end in ("start", "end")
        for number, single in enumerate(singles[:-1])  # the last position lies beyond its row
    ]
    assert packed.loss.item() == pytest.approx((sum(losses) / len(losses)).item(), abs=1e-5)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_multiple_choice_takes_each_document_for_a_choice(flavour, pooling):
    model = make("ElectraPlusForMultipleChoice", flavour, summary_type=pooling)
    labels = torch.tensor([2, 0])
    questions = [
        {"input_ids": documents()[first : first + 3], "label": label}
        for first, label in zip((0, 3), labels.tolist(), strict=True)
    ]
    packed = model(**DataCollatorForPacking(Tokenizer(), 40)(questions))
    singles = torch.cat([model(torch.tensor([[ids]])).logits[0] for ids in documents()]).view(2, 3)
    assert torch.allclose(packed.logits, singles, atol=1e-5)
    expected = torch.nn.functional.cross_entropy(singles, labels)
    assert packed.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert_equal_gradients(gradients(model, packed.loss), gradients(model, expected))


@pytest.mark.parametrize("num_choices", [None, 4])
def test_choices_must_fill_their_questions(num_choices):
    model = make("ElectraPlusForMultipleChoice", "modern")
    with pytest.raises(ValueError, match="`num_choices` must divide the documents of packed rows, got .* 6 documents"):
        model(**packed_batch(), num_choices=num_choices)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    "head", ["ElectraPlusForTokenClassification", "ElectraPlusForMaskedLM", "ElectraPlusForReplacedTokenDetection"]
)
def test_heads_on_tokens(head, flavour):
    model = make(head, flavour)
    batch = packed_batch()
    labels = torch.where(batch["document_ids"] >= 0, batch["input_ids"] % 2, -100)
    packed = model(**batch, labels=labels)
    for number, single in enumerate(one_by_one(model, "logits")):
        assert torch.allclose(packed.logits[batch["document_ids"] == number], single, atol=1e-5)
    total = sum(
        model(torch.tensor([ids]), labels=torch.tensor([ids]) % 2).loss * len(ids) for ids in documents()
    ) / sum(LENGTHS)
    assert packed.loss.item() == pytest.approx(total.item(), abs=1e-5)
    assert_equal_gradients(gradients(model, packed.loss), gradients(model, total))


@pytest.mark.parametrize("stock_generator", [False, True])
def test_joint_model_corrupts_and_detects_within_documents(stock_generator):
    detector = make("ElectraPlusForReplacedTokenDetection", "classic")
    if stock_generator:
        torch.manual_seed(1)
        config = transformers.BertConfig(
            vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
        generator = transformers.BertForMaskedLM(config)
    else:
        generator = make("ElectraPlusForMaskedLM", "classic")
    model = electra_plus.ElectraPlusForPreTraining.from_generator_discriminator(
        generator, detector, embedding_sharing="none"
    ).eval()
    generator = model.generator
    batch = packed_batch()
    masked = (batch["input_ids"] % 5 == 0) & (batch["document_ids"] >= 0)
    inputs = {**batch, "input_ids": batch["input_ids"].masked_fill(masked, 4)}
    torch.manual_seed(2)
    outputs = model(**inputs, labels=batch["input_ids"].masked_fill(~masked, -100))
    assert torch.equal(outputs.rtd_labels == -100, batch["document_ids"] == -1)
    slot_losses = []
    for ids in documents():
        row = torch.tensor([ids])
        logits = generator(row.masked_fill(row % 5 == 0, 4)).logits[row % 5 == 0]
        slot_losses.append(torch.nn.functional.cross_entropy(logits, row[row % 5 == 0], reduction="none"))
    assert outputs.generator_loss.item() == pytest.approx(torch.cat(slot_losses).mean().item(), abs=1e-5)
    corrupted = torch.where(masked, 0, batch["input_ids"])  # which tokens were drawn is not given back: detect plainly
    plain = model(**{**batch, "input_ids": corrupted}).logits
    for number in range(len(LENGTHS)):
        of_document = batch["document_ids"] == number
        single = model(corrupted[of_document][None]).logits[0]
        assert torch.allclose(plain[of_document], single, atol=1e-5)


def test_decoder_keeps_documents_apart():
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=90, is_decoder=True, local_attention=8)
    torch.manual_seed(0)
    model = electra_plus.ElectraPlusForCausalLM(config).eval()
    batch = packed_batch()
    packed = model(batch["input_ids"], document_ids=batch["document_ids"])
    assert packed.past_key_values is None
    for number, ids in enumerate(documents()):
        single = model(torch.tensor([ids]), use_cache=False).logits[0]
        assert torch.allclose(packed.logits[batch["document_ids"] == number], single, atol=1e-5)


def test_document_numbers_of_the_wrong_shape_are_refused():
    model = make("ElectraPlusModel", "modern")
    with pytest.raises(ValueError, match=r"`document_ids` must be of shape \(1, 4\).*got \(1, 3\)"):
        model(torch.tensor([[5, 6, 7, 8]]), document_ids=torch.tensor([[0, 0, 1]]))


def test_positions_without_a_restart_pack_nothing():
    model = make("ElectraPlusForSequenceClassification", "modern")
    input_ids = torch.randint(5, 90, (2, 10))
    attention_mask = torch.tensor([[1] * 10, [0] * 4 + [1] * 6])  # padded on the left
    position_ids = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = model(input_ids, attention_mask=attention_mask, position_ids=position_ids).logits
    assert logits.shape == (2, 2)


def test_unpacking_is_undone_by_indexing():
    batch = packed_batch()
    states = torch.randn(*batch["input_ids"].shape, 3)
    rows, mask = unpack_documents(states, batch["document_ids"])
    assert rows.shape == (len(LENGTHS), max(LENGTHS), 3) and mask.sum(1).tolist() == list(LENGTHS)
    for number, length in enumerate(LENGTHS):
        assert torch.equal(rows[number, :length], states[batch["document_ids"] == number])
        assert not rows[number, length:].any()


def test_what_flash_attention_gets_covers_all_rows():
    batch = packed_batch()
    found = flash_arguments(batch["document_ids"])
    pieces = found["cu_seq_lens_q"].diff().tolist()
    assert sum(pieces) == batch["input_ids"].numel() and found["max_length_q"] == max(pieces)
    flat = batch["document_ids"].flatten().split(pieces)
    assert all((piece == piece[0]).all() for piece in flat)
    same = packed_attention_mask(batch["document_ids"], torch.float32)[:, 0] == 0
    assert same.sum() == (batch["document_ids"][:, :, None] == batch["document_ids"][:, None]).sum()


@pytest.mark.parametrize("name", [name for name in dir(electra_plus) if name.startswith("ElectraPlusFor")])
def test_the_stock_trainer_leaves_document_ids_to_every_head(name):
    # it drops the columns of a dataset that `forward` does not name, and documents would run into each other without a word
    forward = inspect.signature(getattr(electra_plus, name).forward)
    in_chunks = name == "ElectraPlusForLongSequenceClassification"  # each row holds chunks of one text
    assert ("document_ids" in forward.parameters) != in_chunks
