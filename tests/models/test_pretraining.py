"""The joint model: what it computes, what it shares, what its checkpoint holds."""

import pytest
import torch
import transformers
from model_helpers import VOCAB_SIZE, joint_config, masked_batch, small_config, text_batch
from safetensors.torch import load_file

import electra_plus
from electra_plus import (
    ElectraPlusConfig,
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusForReplacedTokenDetection,
)
from electra_plus.models.objectives_electra_plus import masked_slots

FLAVOURS = ["classic", "modern"]


def make_joint(flavour: str = "classic", **overrides) -> ElectraPlusForPreTraining:
    torch.manual_seed(0)
    return ElectraPlusForPreTraining(joint_config(flavour, **overrides)).eval()


def naive_step(model: ElectraPlusForPreTraining, batch: dict) -> dict[str, torch.Tensor]:
    """The plain reference: full-vocabulary logits, greedy choice, boolean indexing."""
    labels, inputs = batch["labels"], {name: value for name, value in batch.items() if name != "labels"}
    logits = model.generator(**inputs).logits
    masked = labels != -100
    generator_loss = torch.nn.functional.cross_entropy(logits[masked], labels[masked])
    corrupted = inputs["input_ids"].clone()
    corrupted[masked] = logits.argmax(dim=-1)[masked]
    original = torch.where(masked, labels, inputs["input_ids"])
    is_replaced = (corrupted != original).long()
    detector_logits = model.discriminator(**{**inputs, "input_ids": corrupted}).logits
    kept = inputs["attention_mask"] == 1
    discriminator_loss = torch.nn.functional.binary_cross_entropy_with_logits(
        detector_logits[kept], is_replaced[kept].float()
    )
    return {
        "loss": generator_loss + 50 * discriminator_loss,
        "generator_loss": generator_loss,
        "discriminator_loss": discriminator_loss,
        "logits": detector_logits,
        "rtd_labels": is_replaced.masked_fill(~kept, -100),
    }


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("num_masked_slots", [None, 9, 20])  # nine are masked
def test_step_equals_the_plain_reference_in_values_and_gradients(flavour, num_masked_slots):
    # at this temperature the draw is the likeliest token, which the reference can repeat
    model = make_joint(flavour, generator_temperature=1e-4)
    batch = masked_batch()
    expected = naive_step(model, batch)
    outputs = model(**batch, num_masked_slots=num_masked_slots)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    parameters = list(model.parameters())
    reference = torch.autograd.grad(expected["loss"], parameters, allow_unused=True)
    gradients = torch.autograd.grad(outputs.loss, parameters, allow_unused=True)
    for (name, _), ours, theirs in zip(model.named_parameters(), gradients, reference, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_with_a_bound_of_the_slots_the_whole_step_is_one_graph(flavour):
    torch.compiler.reset()
    model = make_joint(flavour, generator_temperature=1e-4)
    graphs = []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=count, fullgraph=True)
    for num_masked in (3, 1, 4):
        batch = masked_batch(num_masked=num_masked)
        batch["num_masked_slots"] = 12
        torch.testing.assert_close(compiled(**batch).loss, model(**batch).loss)
    assert len(graphs) == 1, "the number of masked slots compiles nothing anew"


def test_a_compiler_may_leave_the_number_of_slots_open():
    torch.compiler.reset()
    model = make_joint("classic", generator_temperature=1e-4)
    compiled = torch.compile(model, backend="aot_eager")
    for num_slots in (12, 9, 14):  # the second of them opens it
        batch = {**masked_batch(num_masked=3), "num_masked_slots": num_slots}
        torch.testing.assert_close(compiled(**batch).loss, model(**batch).loss)


def test_compiled_attention_gets_no_mask_where_nothing_is_hidden():
    torch.compiler.reset()
    masks = []

    def look(graph, example_inputs):
        calls = [node for node in graph.graph.nodes if "scaled_dot_product" in str(node.target)]
        masks.extend(node.kwargs["attn_mask"] for node in calls)
        return graph.forward

    model = make_joint("classic").electra.eval()
    torch.compile(model, backend=look)(torch.arange(5, 15)[None])
    assert len(masks) == model.config.num_hidden_layers and all(mask is None for mask in masks)


def test_only_masked_slots_meet_the_vocabulary():
    model = make_joint()
    seen = []
    head = model.generator.generator_predictions
    head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model(**masked_batch(batch_size=3, num_masked=2))
    assert seen == [(6, model.generator.config.hidden_size)]


def test_a_slot_the_generator_guessed_right_counts_as_original():
    model = make_joint(generator_temperature=1e-4)
    batch = masked_batch(batch_size=1, num_masked=1)
    guess = model.masked_slot_logits(batch["input_ids"], masked_slots(batch["labels"])).argmax(dim=-1)
    batch["labels"][0, 1] = guess
    outputs = model(**batch)
    assert outputs.rtd_labels[0, 1] == 0
    assert outputs.generator_accuracy == 1
    batch["labels"][0, 1] = (guess + 1) % VOCAB_SIZE
    outputs = model(**batch)
    assert outputs.rtd_labels[0, 1] == 1
    assert outputs.generator_accuracy == 0


def test_disallow_correct_replaces_every_slot():
    model = make_joint(disallow_correct=True)
    batch = masked_batch(batch_size=8)
    assert (model(**batch).rtd_labels[batch["labels"] != -100] == 1).all()


def test_no_gradient_flows_from_the_detector_to_the_generator():
    model = make_joint(generator_loss_weight=0.0)
    model(**masked_batch()).loss.backward()
    own = [p for name, p in model.generator.named_parameters() if not name.startswith("electra.embeddings.")]
    assert all(
        p.grad is None or not p.grad.any() for p in own if p is not model.electra.embeddings.word_embeddings.weight
    )
    assert model.discriminator_predictions.dense.weight.grad.any()


def test_loss_weights_multiply():
    batch = masked_batch()
    outputs = make_joint(generator_loss_weight=2.0, discriminator_loss_weight=3.0)(**batch)
    torch.testing.assert_close(outputs.loss, 2 * outputs.generator_loss + 3 * outputs.discriminator_loss)
    assert (ElectraPlusConfig().generator_loss_weight, ElectraPlusConfig().discriminator_loss_weight) == (1, 50)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_labels_it_is_the_detector(flavour):
    model, batch = make_joint(flavour), text_batch()
    outputs = model(**batch)
    assert outputs.loss is None and outputs.rtd_labels is None
    torch.testing.assert_close(outputs.logits, model.discriminator(**batch).logits)


def test_a_batch_without_masked_slots_has_a_finite_loss():
    batch = text_batch()
    outputs = make_joint()(**batch, labels=torch.full_like(batch["input_ids"], -100))
    assert torch.isfinite(outputs.loss) and outputs.generator_loss == 0


def test_labels_with_inputs_embeds_are_refused():
    with pytest.raises(ValueError, match="need `input_ids`"):
        make_joint()(inputs_embeds=torch.zeros(1, 3, 32), labels=torch.full((1, 3), -100))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("sharing", ["all", "word", "none"])
def test_sharing_survives_saving_and_loading(flavour, sharing, tmp_path):
    model = make_joint(flavour, embedding_sharing=sharing)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    generators = {name for name in stored if name.startswith("generator.electra.embeddings.")}
    ours = {name for name in stored if name.startswith("electra.embeddings.")}
    assert len(ours) == len(dict(model.electra.embeddings.named_parameters()))
    assert len(generators) == {"all": 0, "word": len(ours) - 1, "none": len(ours)}[sharing]

    loaded = transformers.AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    word_tables = {
        id(loaded.electra.embeddings.word_embeddings.weight),
        id(loaded.generator.get_input_embeddings().weight),
    }
    assert len(word_tables) == (2 if sharing == "none" else 1)
    norms = {id(loaded.electra.embeddings.LayerNorm), id(loaded.electra.embeddings.LayerNorm.weight)}
    assert (id(loaded.generator.electra.embeddings.LayerNorm.weight) in norms) == (sharing == "all")
    for (name, before), after in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    torch.manual_seed(1)
    expected = model(**masked_batch())
    torch.manual_seed(1)
    assert torch.equal(loaded(**masked_batch()).loss, expected.loss)


def bert_generator(**overrides) -> transformers.BertForMaskedLM:
    torch.manual_seed(0)
    fields = {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    fields |= {"intermediate_size": 64, "max_position_embeddings": 128}
    return transformers.BertForMaskedLM(transformers.BertConfig(**{**fields, **overrides})).eval()


@pytest.mark.parametrize("sharing", ["all", "word", "none"])
def test_bert_generator_trains_saves_and_loads(sharing, tmp_path):
    bert = bert_generator()
    torch.manual_seed(1)
    detector = ElectraPlusForReplacedTokenDetection(small_config()).eval()
    model = ElectraPlusForPreTraining.from_generator_discriminator(bert, detector, embedding_sharing=sharing).eval()
    outputs = model(**masked_batch())
    outputs.loss.backward()
    assert model.generator.bert.encoder.layer[0].output.dense.weight.grad.any()
    model.save_pretrained(tmp_path)
    loaded = ElectraPlusForPreTraining.from_pretrained(tmp_path).eval()
    assert isinstance(loaded.generator, transformers.BertForMaskedLM)
    for (name, before), after in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    # the generator comes out of the joint folder as the BERT it is
    masked_lm = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert isinstance(masked_lm, transformers.BertForMaskedLM)
    batch = text_batch()
    torch.testing.assert_close(masked_lm(**batch).logits, model.generator(**batch).logits)


def test_masked_slot_logits_of_a_foreign_generator_equal_its_full_logits():
    joint = ElectraPlusForPreTraining.from_generator_discriminator(
        bert_generator(), ElectraPlusForReplacedTokenDetection(small_config())
    ).eval()
    batch = masked_batch()
    labels = batch.pop("labels")
    full = joint.generator(**batch).logits[labels != -100]
    input_ids = batch.pop("input_ids")
    for num_slots in (None, 20):
        found = joint.masked_slot_logits(input_ids, masked_slots(labels, num_slots), **batch)
        torch.testing.assert_close(found[: len(full)], full, rtol=1e-5, atol=1e-5)
    # the hook is gone: the generator gives whole rows again
    assert joint.generator(input_ids).logits.shape[:2] == input_ids.shape


def test_joining_keeps_both_models_numbers_and_shares_what_is_equal():
    torch.manual_seed(0)
    stock_detector = transformers.ElectraForPreTraining(
        transformers.ElectraConfig(vocab_size=VOCAB_SIZE, embedding_size=16, hidden_size=32, num_hidden_layers=2)
    ).eval()
    stock_generator = transformers.ElectraForMaskedLM(
        transformers.ElectraConfig(vocab_size=VOCAB_SIZE, embedding_size=16, hidden_size=16, num_hidden_layers=1)
    ).eval()
    batch = text_batch()
    joint = ElectraPlusForPreTraining.from_generator_discriminator(stock_generator, stock_detector).eval()
    assert joint.config.embedding_sharing == "none"
    torch.testing.assert_close(joint(**batch).logits, stock_detector(**batch).logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(joint.generator(**batch).logits, stock_generator(**batch).logits, rtol=1e-5, atol=1e-5)

    # released pairs have equal embeddings
    stock_generator.electra.embeddings.load_state_dict(stock_detector.electra.embeddings.state_dict())
    joint = ElectraPlusForPreTraining.from_generator_discriminator(stock_generator, stock_detector).eval()
    assert joint.config.embedding_sharing == "all"
    torch.testing.assert_close(joint(**batch).logits, stock_detector(**batch).logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(joint.generator(**batch).logits, stock_generator(**batch).logits, rtol=1e-5, atol=1e-5)


def test_joining_with_a_foreign_discriminator_is_refused():
    with pytest.raises(TypeError, match="`discriminator` must be"):
        ElectraPlusForPreTraining.from_generator_discriminator(bert_generator(), bert_generator())


def test_parts_saved_alone_are_complete(tmp_path):
    model, batch = make_joint(), text_batch()
    model.discriminator.save_pretrained(tmp_path / "discriminator")
    model.generator.save_pretrained(tmp_path / "generator")
    detector = ElectraPlusForReplacedTokenDetection.from_pretrained(tmp_path / "discriminator").eval()
    assert detector.config.generator_config is None
    torch.testing.assert_close(detector(**batch).logits, model(**batch).logits)
    generator = ElectraPlusForMaskedLM.from_pretrained(tmp_path / "generator").eval()
    torch.testing.assert_close(generator(**batch).logits, model.generator(**batch).logits)


def test_model_without_generator_config_is_refused():
    with pytest.raises(ValueError, match=r"`generator_config` is None.*preset"):
        ElectraPlusForPreTraining(small_config())


def test_public_classes_are_the_ones_defined_in_models():
    assert electra_plus.ElectraPlusForPreTraining.__module__ == "electra_plus.models.modeling_electra_plus_pretraining"


@pytest.mark.parametrize("num_masked_slots", [None, 20])
@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_sparse_prediction_gives_the_same_loss_and_gradients(flavour, num_masked_slots):
    batch = masked_batch()
    dense = ElectraPlusForMaskedLM(small_config(flavour)).eval()
    sparse = ElectraPlusForMaskedLM(small_config(flavour, sparse_prediction=True)).eval()
    sparse.load_state_dict(dense.state_dict())
    expected, ours = dense(**batch), sparse(**batch, num_masked_slots=num_masked_slots)
    torch.testing.assert_close(ours.loss, expected.loss)
    assert len(ours.logits) == (num_masked_slots or 9)
    torch.testing.assert_close(ours.logits[:9], expected.logits[batch["labels"] != -100])
    expected.loss.backward()
    ours.loss.backward()
    for (name, parameter), (_, other) in zip(sparse.named_parameters(), dense.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)
    batch.pop("labels")
    assert sparse(**batch).logits.shape == expected.logits.shape  # without labels every slot is scored
