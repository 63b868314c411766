"""What every head can do besides its task: attention implementations, checkpointing, compiling, padding."""

import pytest
import torch
import transformers
from head_helpers import batch_for, every_flavour, every_head, labelled_batch_for, make_model, objective, scores_of
from model_helpers import VOCAB_SIZE, small_config, text_batch

from electra_plus import ElectraPlusModel
from electra_plus.registration import HEADS

LAYERS, HEADS_PER_LAYER, WINDOW = 2, 2, 8
LAST_IN_WINDOW = WINDOW // 2  # the farthest neighbour a local layer sees to each side

every_decoding = pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])


def gradients_of(model) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_all_close(ours: dict, expected: dict, atol: float = 1e-5) -> None:
    assert ours.keys() == expected.keys()
    for name in expected:
        # float32 sums in another order: the joint loss is about 40, its gradients up to 10
        torch.testing.assert_close(
            ours[name], expected[name], rtol=1e-4, atol=atol, msg=lambda text, n=name: f"{n}: {text}"
        )


# ---- attention ----


@every_flavour
@every_head
@pytest.mark.parametrize("length", [1, 63, 100])
def test_sdpa_equals_eager_in_values_and_gradients(name, flavour, length):
    model, batch = make_model(name, flavour), labelled_batch_for(name, length)
    results = {}
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        model.zero_grad()
        outputs = model(**batch)
        objective(outputs, batch).backward()
        results[implementation] = scores_of(outputs, batch), gradients_of(model)
    assert results["eager"][1]
    for ours, expected in zip(results["sdpa"], results["eager"], strict=True):
        assert_all_close(ours, expected, atol=1e-4)


@pytest.mark.skipif(transformers.utils.is_flash_attn_2_available(), reason="flash attention is installed here")
@pytest.mark.parametrize("kind", ["flash_attention_2", "no_such_attention"])
@every_head
def test_attention_that_is_not_there_is_an_error_and_no_fallback(name, kind, tmp_path):
    model = make_model(name, "modern")
    before = model.config._attn_implementation
    message = "FlashAttention2.*installed" if kind == "flash_attention_2" else "no_such_attention.*not supported"
    with pytest.raises((ImportError, ValueError), match=message):
        model.set_attn_implementation(kind)
    assert model.config._attn_implementation == before
    model.save_pretrained(tmp_path)
    with pytest.raises((ImportError, ValueError), match=message):
        type(model).from_pretrained(tmp_path, attn_implementation=kind)


@every_flavour
@every_head
def test_attentions_and_hidden_states_come_on_request(name, flavour):
    model, batch = make_model(name, flavour), batch_for(name)
    model.set_attn_implementation("eager")
    plain = model(**batch)
    assert plain.get("hidden_states") is None and plain.get("attentions") is None
    outputs = model(**batch, output_attentions=True, output_hidden_states=True)
    rows, length = batch["input_ids"].shape[:-1].numel(), batch["input_ids"].shape[-1]
    assert [tuple(states.shape) for states in outputs.hidden_states] == [(rows, length, 32)] * (LAYERS + 1)
    assert [tuple(weights.shape) for weights in outputs.attentions] == [
        (rows, HEADS_PER_LAYER, length, length)
    ] * LAYERS
    for weights in outputs.attentions:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(rows, HEADS_PER_LAYER, length))
    encoded = model.base_model(**{key: value.view(rows, length) for key, value in batch.items()}).last_hidden_state
    real = batch["attention_mask"].view(rows, length).bool()
    assert torch.equal(outputs.hidden_states[-1][real], encoded[real])
    assert_all_close(scores_of(outputs, batch), scores_of(plain, batch), atol=0)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@every_decoding
def test_local_layer_sees_its_window_and_nothing_else(is_decoder, implementation):
    config = small_config("modern", num_hidden_layers=1, layer_types=["sliding_attention"], is_decoder=is_decoder)
    model = ElectraPlusModel(config).eval()
    model.set_attn_implementation(implementation)
    ids, changed = text_batch(1, 40, padded=False)["input_ids"], 20
    other = ids.clone()
    other[0, changed] = (ids[0, changed] + 1) % VOCAB_SIZE
    moved = (model(ids).last_hidden_state != model(other).last_hidden_state).any(dim=-1)[0]
    first = changed if is_decoder else changed - LAST_IN_WINDOW
    last = changed + (LAST_IN_WINDOW - 1 if is_decoder else LAST_IN_WINDOW)  # a decoder's own token is in its window
    assert moved.nonzero().flatten().tolist() == list(range(first, last + 1))


# ---- training and compiling ----


@pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing:FutureWarning"
)  # the name that transformers 5.17 knows too
@pytest.mark.parametrize("use_reentrant", [False, pytest.param(True, marks=pytest.mark.slow)])
@every_flavour
@every_head
def test_gradient_checkpointing_gives_the_same_loss_and_gradients(name, flavour, use_reentrant):
    model, batch = make_model(name, flavour).train(), labelled_batch_for(name)
    passes = []
    model.base_model.encoder.layer[0].attention.register_forward_hook(lambda *_: passes.append(1))
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
            assert model.is_gradient_checkpointing
        model.zero_grad()
        passes.clear()
        torch.manual_seed(1)  # the same dropout
        loss = objective(model(**batch), batch)
        loss.backward()
        assert len(passes) == 1 + checkpointing  # once more in the backward pass
        results.append({"loss": loss.detach(), **gradients_of(model)})
    assert results[1].keys() == results[0].keys()
    for key, expected in results[0].items():
        assert torch.equal(results[1][key], expected), key


@pytest.mark.slow
@every_flavour
@every_head
def test_compiled_model_gives_the_same_scores(name, flavour):
    torch.compiler.reset()
    model, batch = make_model(name, flavour), labelled_batch_for(name)
    with torch.no_grad():
        expected, compiled = model(**batch), torch.compile(model)(**batch)
    if name == "ElectraPlusForPreTraining":
        # compiled code draws its random numbers elsewhere, but at this temperature every draw is the likeliest token
        assert torch.equal(compiled.rtd_labels, expected.rtd_labels)
    assert_all_close(scores_of(compiled, batch), scores_of(expected, batch))


# ---- padding ----


@every_flavour
@every_head
def test_padded_rows_score_like_rows_alone(name, flavour):
    model, batch = make_model(name, flavour), batch_for(name, length=30)
    together = scores_of(model(**batch), batch)
    for row in range(3):
        width = int(batch["attention_mask"][row].sum(dim=-1).max())
        single = {key: tensor[row : row + 1, ..., :width] for key, tensor in batch.items()}
        for key, alone in scores_of(model(**single), single).items():
            in_batch = together[key][row : row + 1]
            if in_batch.shape != alone.shape:
                in_batch = in_batch[:, :width]
            torch.testing.assert_close(in_batch, alone, rtol=1e-5, atol=1e-5)


# a head that reads the first token ([CLS]) needs it at the first place, and so padding on the right
LEFT_PADDED = [
    (head.class_name, flavour)
    for head in HEADS
    for flavour in ("classic", "modern")
    if head.class_name != "ElectraPlusForMultipleChoice"
    and (head.class_name, flavour) != ("ElectraPlusForSequenceClassification", "classic")
]


@pytest.mark.parametrize(("name", "flavour"), LEFT_PADDED)
def test_left_padded_rows_with_positions_score_like_rows_alone(name, flavour):
    model, text, width = make_model(name, flavour), text_batch(1, 20, padded=False), 29
    alone = scores_of(model(**text), text)
    padded = {key: torch.nn.functional.pad(tensor, (width - 20, 0)) for key, tensor in text.items()}
    position_ids = (padded["attention_mask"].cumsum(dim=-1) - 1).clamp(min=0)
    for key, score in scores_of(model(**padded, position_ids=position_ids), padded).items():
        score = score[:, -20:] if score.shape[1] == width else score
        torch.testing.assert_close(score, alone[key], rtol=1e-5, atol=1e-5)


@every_flavour
@every_head
def test_no_row_sees_another(name, flavour):
    model, batch = make_model(name, flavour), batch_for(name)
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][0] = (batch["input_ids"][0] + 7) % VOCAB_SIZE
    before, after = scores_of(model(**batch), batch), scores_of(model(**other), other)
    for key in before:
        assert not torch.equal(after[key][0], before[key][0])
        torch.testing.assert_close(after[key][1:], before[key][1:], rtol=0, atol=1e-6)
