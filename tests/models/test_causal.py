"""Next-word prediction: what a token may see, generation with and without cache, and the decoder of an encoder-decoder."""

import logging

import pytest
import torch
import transformers
from head_helpers import every_flavour
from model_helpers import VOCAB_SIZE, small_config, text_batch

from electra_plus import ElectraPlusForCausalLM, ElectraPlusForReplacedTokenDetection, ElectraPlusModel

# more than the 4 tokens that a local layer sees to the left, several times over
NEW_TOKENS = 20
PROMPT_LENGTH = 6


def make_decoder(flavour: str, **overrides) -> ElectraPlusForCausalLM:
    torch.manual_seed(0)
    # weights so large that the likeliest token changes from step to step
    return ElectraPlusForCausalLM(small_config(flavour, is_decoder=True, initializer_range=0.5, **overrides)).eval()


def prompts(rows: int = 3, length: int = PROMPT_LENGTH) -> torch.Tensor:
    return text_batch(rows, length, padded=False)["input_ids"]


def greedy(model, input_ids: torch.Tensor, **kwargs) -> torch.Tensor:
    fields = {"max_new_tokens": NEW_TOKENS, "do_sample": False, **kwargs}
    return model.generate(input_ids, attention_mask=fields.pop("attention_mask", torch.ones_like(input_ids)), **fields)


@pytest.fixture
def transformers_messages(caplog):
    """What transformers and our models log, which it keeps from the root logger."""
    loggers = [logging.getLogger("transformers"), logging.getLogger("electra_plus")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in loggers:
        logger.removeHandler(caplog.handler)


# ---- what a token may see ----


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@every_flavour
def test_future_tokens_do_not_change_past_logits(flavour, implementation):
    model, ids, changed = make_decoder(flavour), prompts(length=30), 12
    model.set_attn_implementation(implementation)
    other = ids.clone()
    other[:, changed:] = (ids[:, changed:] + 7) % VOCAB_SIZE
    logits, other_logits = model(ids).logits, model(other).logits
    torch.testing.assert_close(other_logits[:, :changed], logits[:, :changed], rtol=0, atol=1e-5)
    assert (other_logits[:, changed] - logits[:, changed]).abs().max() > 0.1


def test_decoder_that_is_none_is_warned_of(transformers_messages):
    ElectraPlusForCausalLM(small_config())
    assert "Set `is_decoder=True`" in transformers_messages.text


@every_flavour
def test_loss_is_the_mean_over_the_next_tokens(flavour):
    model, ids = make_decoder(flavour), prompts()
    labels = ids.clone()
    labels[0, 2:4] = -100
    outputs = model(ids, labels=labels)
    scores = outputs.logits[:, :-1].log_softmax(dim=-1)
    next_ids = labels[:, 1:]
    losses = -scores.gather(2, next_ids.clamp(min=0)[..., None]).squeeze(2)[next_ids != -100]
    assert losses.shape == (3 * (PROMPT_LENGTH - 1) - 2,)
    torch.testing.assert_close(outputs.loss, losses.mean())


def test_only_the_logits_asked_for_are_computed():
    model, ids = make_decoder("classic"), prompts()
    logits = model(ids).logits
    # other shapes of the matrix product may round differently
    torch.testing.assert_close(model(ids, logits_to_keep=1).logits, logits[:, -1:])
    torch.testing.assert_close(model(ids, logits_to_keep=torch.tensor([0, 2])).logits, logits[:, [0, 2]])


# ---- generation ----


@every_flavour
def test_tokens_fed_one_by_one_score_like_the_whole_row(flavour):
    model, ids = make_decoder(flavour), prompts(length=NEW_TOKENS)
    cache, steps = None, []
    for position in range(NEW_TOKENS):
        outputs = model(ids[:, position : position + 1], past_key_values=cache, use_cache=True)
        cache = outputs.past_key_values
        steps.append(outputs.logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), model(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
@every_flavour
def test_generation_is_the_same_with_and_without_cache(flavour, method):
    model, ids = make_decoder(flavour), prompts()
    cached, plain = (greedy(model, ids, use_cache=use_cache, **method) for use_cache in (True, False))
    assert cached.shape == (3, PROMPT_LENGTH + NEW_TOKENS)
    assert torch.equal(cached, plain)
    assert torch.equal(cached[:, :PROMPT_LENGTH], ids)
    assert len(cached[:, PROMPT_LENGTH:].unique()) > 5  # one token over and over would prove little


@every_flavour
def test_left_padded_batch_generates_like_single_rows(flavour):
    model, lengths = make_decoder(flavour), (PROMPT_LENGTH, 4, 1)
    ids = prompts()
    mask = torch.tensor([[0] * (PROMPT_LENGTH - length) + [1] * length for length in lengths])
    together = greedy(model, ids.masked_fill(mask == 0, 0), attention_mask=mask)
    for row, length in enumerate(lengths):
        alone = greedy(model, ids[row : row + 1, -length:])
        assert torch.equal(together[row, PROMPT_LENGTH:], alone[0, length:])


@every_flavour
def test_generation_stops_at_the_end_token_and_pads_the_row(flavour):
    model, ids = make_decoder(flavour), prompts()
    unstopped = greedy(model, ids)[:, PROMPT_LENGTH:]
    end = int(unstopped[0, 2])
    stopped = greedy(model, ids, eos_token_id=end, pad_token_id=0)[:, PROMPT_LENGTH:]
    for row, free in zip(stopped, unstopped, strict=True):
        ends = (free == end).nonzero()
        length = int(ends[0]) + 1 if len(ends) else len(row)
        assert torch.equal(row[:length], free[:length])
        assert not row[length:].any()
    assert greedy(model, ids[:1], eos_token_id=end)[0, -1] == end


@every_flavour
def test_sampling_follows_the_seed_and_beams_return_several_rows(flavour):
    model, ids = make_decoder(flavour, pad_token_id=0), prompts()
    samples = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        samples.append(greedy(model, ids, do_sample=True, top_k=50, temperature=2.0))
    assert torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])
    beams = greedy(model, ids, num_beams=4, num_return_sequences=2)
    assert beams.shape == (6, PROMPT_LENGTH + NEW_TOKENS)
    assert not torch.equal(beams[0], beams[1])


# ---- the decoder of an encoder-decoder ----


def make_encoder_decoder(flavour: str, **encoder_overrides) -> transformers.EncoderDecoderModel:
    decoder = make_decoder(flavour, add_cross_attention=True)
    encoder = ElectraPlusModel(small_config(flavour, initializer_range=0.5, **encoder_overrides))
    model = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.pad_token_id = 2, 0
    return model


def source_and_target() -> dict[str, torch.Tensor]:
    source, target = text_batch(3, 17), text_batch(3, 9)
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, -100)
    return {"input_ids": source["input_ids"], "attention_mask": source["attention_mask"], "labels": labels}


@pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")
@every_flavour
def test_encoder_decoder_trains_generates_saves_and_loads(flavour, tmp_path):
    model, batch = make_encoder_decoder(flavour), source_and_target()
    outputs = model(**batch)
    torch.testing.assert_close(
        outputs.loss, torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), batch["labels"].flatten())
    )
    outputs.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.encoder.get_input_embeddings().weight.grad.any()

    source = {"attention_mask": batch["attention_mask"]}
    generated = greedy(model, batch["input_ids"], **source)
    assert torch.equal(generated, greedy(model, batch["input_ids"], use_cache=False, **source))
    assert generated.shape == (3, 1 + NEW_TOKENS)
    assert len(generated.unique()) > 5
    beams = (greedy(model, batch["input_ids"], num_beams=3, use_cache=cached, **source) for cached in (True, False))
    assert torch.equal(*beams)

    model.save_pretrained(tmp_path)
    loaded = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    assert isinstance(loaded.encoder, ElectraPlusModel) and isinstance(loaded.decoder, ElectraPlusForCausalLM)
    assert loaded.decoder.generator_lm_head.weight is loaded.decoder.get_input_embeddings().weight
    torch.testing.assert_close(loaded(**batch).loss, outputs.loss, rtol=1e-6, atol=1e-6)
    assert torch.equal(greedy(loaded, batch["input_ids"], **source), generated)


@pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")
@every_flavour
def test_decoder_reads_the_source_but_not_its_padding(flavour):
    model, batch = make_encoder_decoder(flavour), source_and_target()
    padding = batch["attention_mask"] == 0
    noise = torch.randint_like(batch["input_ids"], 5, VOCAB_SIZE)
    logits = model(**batch).logits
    repadded = model(**{**batch, "input_ids": torch.where(padding, noise, batch["input_ids"])}).logits
    torch.testing.assert_close(repadded, logits, rtol=1e-5, atol=1e-5)
    rewritten = model(**{**batch, "input_ids": torch.where(padding, batch["input_ids"], noise)}).logits
    assert (rewritten - logits).abs().amax(dim=(1, 2)).min() > 0.1


@every_flavour
def test_encoder_may_be_wider_than_the_decoder(flavour):
    model, batch = make_encoder_decoder(flavour, hidden_size=64), source_and_target()
    generated = greedy(model, batch["input_ids"], attention_mask=batch["attention_mask"])
    assert generated.shape == (3, 1 + NEW_TOKENS)


@every_flavour
def test_decoder_made_of_a_discriminator_names_its_new_weights(flavour, tmp_path, transformers_messages):
    detector = ElectraPlusForReplacedTokenDetection(small_config(flavour))
    detector.save_pretrained(tmp_path)
    decoder, info = ElectraPlusForCausalLM.from_pretrained(
        tmp_path, is_decoder=True, add_cross_attention=True, output_loading_info=True
    )
    new = {name for name in info["missing_keys"] if ".crossattention." in name or name.startswith("generator_")}
    assert new == set(info["missing_keys"]) and not info["unexpected_keys"]
    modules = ["self.query", "self.key", "self.value", "output.dense"]
    for module in [f"crossattention.{module}.weight" for module in modules]:
        assert sum(name.endswith(module) for name in new) == 2
        assert module in transformers_messages.text
    assert "generator_predictions.dense.weight" in transformers_messages.text
    for name, tensor in detector.electra.state_dict().items():
        assert torch.equal(decoder.electra.state_dict()[name], tensor), name


def test_source_for_a_decoder_without_cross_attention_is_refused():
    with pytest.raises(ValueError, match=r"`encoder_hidden_states` needs cross-attention.*add_cross_attention=True"):
        make_decoder("classic")(prompts(), encoder_hidden_states=torch.zeros(3, 5, 32))
