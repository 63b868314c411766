"""Objectives beside replaced token detection: their losses by hand, their heads in the joint model and its checkpoint."""

import copy
import math

import pytest
import torch
import transformers
from model_helpers import VOCAB_SIZE, joint_config, masked_batch, small_config, text_batch
from safetensors.torch import load_file
from torch.nn import functional as F

from electra_plus import ElectraPlusConfig, ElectraPlusForPreTraining, ElectraPlusForReplacedTokenDetection
from electra_plus.models.configuration_electra_plus import OBJECTIVE_NAMES
from electra_plus.models.further_objectives_electra_plus import (
    OBJECTIVES,
    CorruptedBatch,
    contrastive_loss,
    copy_mechanism_loss,
    crop_documents,
    draw_candidates,
)

ALL = dict.fromkeys(OBJECTIVE_NAMES, 1.0)
every_objective = pytest.mark.parametrize("name", OBJECTIVE_NAMES)
every_sharing = pytest.mark.parametrize("sharing", ["all", "none", "gdes"])


def make_joint(weights: dict[str, float] | None = ALL, flavour: str = "classic", **overrides):
    torch.manual_seed(0)
    return ElectraPlusForPreTraining(joint_config(flavour, objective_weights=weights, **overrides)).eval()


def step(model, batch: dict | None = None, **inputs):
    """One forward with the same draws at every call."""
    torch.manual_seed(1)
    return model(**(batch or masked_batch()), **inputs)


def packed_batch() -> dict[str, torch.Tensor]:
    """Two rows of three and two documents, one slot masked in each."""
    document_ids = torch.tensor([[0] * 6 + [1] * 4 + [2] * 5 + [-1], [3] * 9 + [4] * 5 + [-1] * 2])
    original_ids = torch.randint(5, VOCAB_SIZE, document_ids.shape, generator=torch.Generator().manual_seed(0))
    masked = torch.zeros_like(document_ids, dtype=torch.bool)
    masked[0, [1, 7, 11]] = masked[1, [3, 10]] = True
    return {
        "input_ids": original_ids.masked_fill(masked, 4).masked_fill(document_ids < 0, 0),
        "labels": original_ids.masked_fill(~masked, -100),
        "document_ids": document_ids,
    }


# ---- the pure functions ----


@pytest.mark.parametrize("num_masked", [1, 63, 100])
def test_candidates_hold_the_true_token_once_and_no_token_twice(num_masked):
    rng = torch.Generator().manual_seed(0)
    original_ids = torch.arange(num_masked) % 7
    logits = torch.zeros(num_masked, 7)
    logits[:, 3] = 50.0  # so likely that it is always drawn, unless it is the true token
    candidates = draw_candidates(logits, original_ids, rng=rng)
    assert candidates.shape == (num_masked, 5)
    assert torch.equal(candidates[:, 0], original_ids)
    assert all(len(set(row)) == 5 for row in candidates.tolist())
    assert (candidates == 3).any(dim=1).all()


def test_no_slot_has_no_candidates():
    assert draw_candidates(torch.zeros(0, 7), torch.zeros(0).long()).shape == (0, 5)


def test_candidates_are_drawn_as_one_after_the_other_without_replacement():
    # without the true token 0 the others have 1/2, 1/4, 1/4; token 1 is among two draws in
    # 1/2 + 1/4 * (1/2) / (3/4) * 2 = 1/2 + 1/3 = 5/6 of all cases
    logits = torch.tensor([9.0, math.log(2.0), 0.0, 0.0]).expand(20_000, 4)
    rng = torch.Generator().manual_seed(0)
    candidates = draw_candidates(logits, torch.zeros(20_000).long(), num_candidates=3, rng=rng)
    rate = (candidates == 1).any(dim=1).float().mean().item()
    assert rate == pytest.approx(5 / 6, abs=5 * math.sqrt(5 / 36 / 20_000))  # five standard errors


def test_copy_mechanism_loss_by_hand():
    # p_lm = (1/5, 2/5, 1/5, 1/5); p_copy is 1/2 in the first two slots, 1/5 in the third (odds of "replaced" 4)
    lm_logits = torch.tensor([0.0, math.log(2.0), 0.0, 0.0]).repeat(4, 1)
    detection_logits = torch.tensor([0.0, 0.0, math.log(4.0), 7.0])
    input_ids = torch.tensor([1, 3, 2, 1])
    original_ids = torch.tensor([1, 1, 0, -100])  # guessed right, replaced, replaced, no slot
    # 1/2 + 1/2 * 2/5 = 0.7, then 1/2 * 2/5 = 0.2, then 4/5 * 1/5 = 0.16
    expected = -(math.log(0.7) + math.log(0.2) + math.log(0.16)) / 3  # 1.266231
    loss = copy_mechanism_loss(lm_logits, detection_logits, input_ids, original_ids)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert loss.item() == pytest.approx(1.266231, abs=1e-6)


def test_copy_mechanism_passes_no_gradient_to_the_probability_of_a_copy():
    lm_logits, detection_logits = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, requires_grad=True)
    copy_mechanism_loss(lm_logits, detection_logits, torch.tensor([1, 2]), torch.tensor([1, 1])).backward()
    assert detection_logits.grad is None
    assert lm_logits.grad.any(dim=1).all()


def test_copy_mechanism_stays_finite_where_a_probability_vanishes():
    lm_logits = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    loss = copy_mechanism_loss(lm_logits, torch.tensor([300.0, -300.0]), torch.tensor([0, 1]), torch.tensor([1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(100.0, abs=1e-4)  # -log p is 200 in the first slot, 0 in the second
    assert torch.isfinite(lm_logits.grad).all()
    empty = torch.zeros(0).long()
    assert copy_mechanism_loss(torch.zeros(0, 4), torch.zeros(0), empty, empty) == 0


def test_contrastive_loss_by_hand():
    first = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    second = torch.tensor([[2.0, 0.0], [3.0, 0.0]])
    # cosines of (a0, a1, b0, b1): a0 sees its other view b0 with 1, a1 with 0, b1 with 1; a1 sees b1 with 0, all others with
    # 0 too; b0 sees a0 with 1, a1 with 0, b1 with 1; b1 sees a1 with 0, a0 and b0 with 1
    of_a0 = of_b0 = -math.log(math.e / (2 * math.e + 1))
    of_a1, of_b1 = math.log(3), -math.log(1 / (2 * math.e + 1))
    expected = (of_a0 + of_a1 + of_b0 + of_b1) / 4  # 1.171147
    assert contrastive_loss(first, second).item() == pytest.approx(expected, abs=1e-6)
    # what is no text is neither counted nor a negative
    padded = [torch.cat([views[:1], torch.ones(1, 2), views[1:]]) for views in (first, second)]
    counted = torch.tensor([True, False, True])
    assert contrastive_loss(*padded, counted=counted).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("counted", [None, torch.tensor([False])])
def test_one_text_or_none_has_nothing_to_contrast(counted):
    first = torch.ones(1, 2, requires_grad=True)
    loss = contrastive_loss(first, torch.ones(1, 2), counted)
    loss.backward()
    assert loss == 0 and not first.grad.any()


def test_crop_keeps_the_first_token_and_a_run_of_nine_in_ten():
    torch.manual_seed(0)
    document_ids = torch.tensor([[0] * 11 + [-1]]).repeat(200, 1)
    document_ids[1::2] = document_ids[1::2].roll(1, dims=1)  # padding on the left
    places, view = crop_documents(document_ids)
    starts = set()
    for row, (sources, documents) in enumerate(zip(places.tolist(), view.tolist(), strict=True)):
        begin = row % 2
        assert documents == [-1] * begin + [0] * 10 + [-1] * (2 - begin)
        run = sources[begin + 1 : begin + 10]
        assert sources[begin] == begin and run == list(range(run[0], run[0] + 9))
        starts.add(run[0] - begin)
    assert starts == {1, 2}


def test_crop_is_made_in_each_document():
    torch.manual_seed(0)
    document_ids = torch.tensor([[5, 5, 5, 5, 2, 2, 9], [-1, 3, 3, 3, -1, -1, -1]])
    places, view = crop_documents(document_ids)
    assert view.tolist() == [[5, 5, 5, -1, 2, 2, 9], [-1, 3, 3, -1, -1, -1, -1]]
    assert places[0, [0, 4, 5, 6]].tolist() == [0, 4, 5, 6] and places[0, 1:3].tolist() in ([1, 2], [2, 3])
    assert places[1, 1] == 1 and places[1, 2] in (2, 3)


# ---- the heads ----


def four_tokens(head, **changes) -> CorruptedBatch:
    """One row of four tokens in a vocabulary of five, slots 1 and 2 masked, states as the head is to read them."""
    states = torch.tensor([[[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    head.dense, head.activation, head.LayerNorm = (torch.nn.Identity() for _ in range(3))
    fields = {
        "states": states,
        "detection_logits": torch.tensor([[9.0, 0.0, 0.0, 9.0]]),
        "corrupted_ids": torch.tensor([[0, 1, 3, 0]]),
        "original_ids": torch.tensor([[0, 1, 2, 0]]),
        "slots": torch.tensor([1, 2, -1]),
        "slot_ids": torch.tensor([1, 2, -100]),
        "slot_logits": torch.zeros(3, 5),
        "word_table": torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
        "encode": None,
    }
    return CorruptedBatch(**{**fields, **changes})


def test_multi_word_choice_by_hand():
    head = OBJECTIVES["multi_word_choice"](small_config())
    # five candidates of five tokens: all. Slot 1 scores its true token 1, the others 0; slot 2 scores its own 2
    expected = (-math.log(math.e / (math.e + 4)) - math.log(math.e**2 / (math.e**2 + 4))) / 2  # 0.668648
    assert head.loss(four_tokens(head)).item() == pytest.approx(expected, abs=1e-6)


def test_corrective_lm_by_hand():
    head = OBJECTIVES["corrective_lm"](small_config())
    # slot 1 was guessed right, slot 2 was not; the detector cannot say: p_copy = 1/2 in both
    guessed = 0.5 + 0.5 * math.e / (math.e + 4)
    replaced = 0.5 * math.e**2 / (math.e**2 + 4)
    expected = -(math.log(guessed) + math.log(replaced)) / 2
    assert head.loss(four_tokens(head)).item() == pytest.approx(expected, abs=1e-6)


def test_sequence_contrast_reads_first_tokens_of_the_cropped_original():
    head = OBJECTIVES["sequence_contrast"](small_config())
    original_ids = torch.tensor([[7, 1, 2, 3], [8, 4, 5, 0]])
    states = torch.tensor([[[1.0, 0.0]] + [[9.0, 9.0]] * 3, [[0.0, 5.0]] + [[9.0, 9.0]] * 3])
    seen = []

    def encode(input_ids, **padding):
        seen.append((input_ids, padding))
        return torch.tensor([[[2.0, 0.0]] * 4, [[3.0, 0.0]] * 4])

    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    batch = four_tokens(head, states=states, original_ids=original_ids, attention_mask=mask, encode=encode)
    of_similar, of_b1 = -math.log(math.e / (2 * math.e + 1)), math.log(2 * math.e + 1)
    expected = (2 * of_similar + math.log(3) + of_b1) / 4  # the vectors of `test_contrastive_loss_by_hand`
    assert head.loss(batch).item() == pytest.approx(expected, abs=1e-6)
    ids, padding = seen[0]
    assert ids[0, :3].tolist() in ([7, 1, 2], [7, 2, 3]) and ids[1, :2].tolist() in ([8, 4], [8, 5])
    assert padding.keys() == {"attention_mask"}
    assert padding["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]


def test_the_configuration_knows_every_objective():
    assert tuple(OBJECTIVES) == OBJECTIVE_NAMES


# ---- the joint model ----


def test_loss_is_the_weighted_sum_of_all():
    weights = {"multi_word_choice": 2.0, "corrective_lm": 0.5, "sequence_contrast": 3}
    outputs = step(make_joint(weights))
    further = sum(weights[name] * loss for name, loss in outputs.objective_losses.items())
    torch.testing.assert_close(outputs.loss, outputs.generator_loss + 50 * outputs.discriminator_loss + further)
    plain = step(make_joint(None))
    assert plain.objective_losses is None
    torch.testing.assert_close(plain.loss, plain.generator_loss + 50 * plain.discriminator_loss)


def test_losses_equal_a_plain_reference():
    model = make_joint(generator_temperature=1e-6)  # draws the likeliest token
    batch = masked_batch()
    outputs = step(model, batch)
    labels, inputs = batch["labels"], {name: value for name, value in batch.items() if name != "labels"}
    masked = labels != -100
    corrupted, _ = model.corrupt(labels=labels, **inputs)
    states = model.electra(**{**inputs, "input_ids": corrupted}).last_hidden_state
    lm = F.linear(model.objectives["corrective_lm"](states[masked]), model.get_input_embeddings().weight)
    p_copy = 1 - outputs.logits[masked].sigmoid()
    probabilities = (1 - p_copy)[:, None] * lm.softmax(dim=-1)
    probabilities = probabilities + p_copy[:, None] * F.one_hot(corrupted[masked], VOCAB_SIZE)
    expected = -probabilities.gather(1, labels[masked][:, None]).log().mean()
    torch.testing.assert_close(outputs.objective_losses["corrective_lm"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flavour", ["classic", "modern"])
@every_sharing
@every_objective
def test_gradients_reach_head_encoder_and_word_table(name, sharing, flavour):
    model = make_joint({name: 1.0}, flavour, embedding_sharing=sharing)
    step(model).objective_losses[name].backward()
    assert all(parameter.grad.any() for parameter in model.objectives.parameters())
    assert model.electra.encoder.layer[0].attention.output.dense.weight.grad.any()
    table = model.embedding_differences.word_embeddings if sharing == "gdes" else model.get_input_embeddings().weight
    assert table.grad.any()
    assert model.discriminator_predictions.dense.weight.grad is None, "detection alone trains the probability of a copy"
    own = [p for name, p in model.generator.named_parameters() if "embeddings" not in name and "lm_head.w" not in name]
    assert all(p.grad is None or not p.grad.any() for p in own)


@every_sharing
@pytest.mark.parametrize("networks", ["generator", "discriminator", "adversarial"])
def test_further_objectives_belong_to_the_discriminator(networks, sharing):
    model = make_joint(embedding_sharing=sharing)
    outputs = step(model, networks=networks)
    outputs.loss.backward()
    assert (outputs.objective_losses is None) == (networks == "generator")
    if networks == "discriminator":
        further = sum(outputs.objective_losses.values())
        torch.testing.assert_close(outputs.loss, 50 * outputs.discriminator_loss + further)
        assert model.generator.generator_predictions.dense.weight.grad is None


@every_objective
def test_weight_zero_keeps_the_head_and_costs_nothing(name):
    model, plain = make_joint({name: 0.0}), make_joint(None)
    plain.load_state_dict(model.state_dict(), strict=False)
    assert [key for key in model.state_dict() if key.startswith(f"objectives.{name}.")]
    outputs = step(model)
    assert outputs.objective_losses is None
    assert torch.equal(outputs.loss, step(plain).loss), "the same draws: nothing else was computed"


def test_a_plain_model_has_the_parameters_it_had():
    plain = set(make_joint(None).state_dict())
    assert not [key for key in plain if "objectives" in key]
    assert {key for key in make_joint().state_dict() if not key.startswith("objectives.")} == plain


def test_detection_alone_runs_no_further_objective():
    outputs = make_joint()(**text_batch())
    assert outputs.loss is None and outputs.objective_losses is None


def test_a_batch_without_masked_slots_has_finite_losses():
    batch = text_batch()
    outputs = step(make_joint(), {**batch, "labels": torch.full_like(batch["input_ids"], -100)})
    outputs.loss.backward()
    assert outputs.objective_losses["multi_word_choice"] == outputs.objective_losses["corrective_lm"] == 0
    assert torch.isfinite(outputs.loss)


def test_spare_slots_change_no_loss():
    model = make_joint({"corrective_lm": 1.0}, generator_temperature=1e-6)
    torch.testing.assert_close(step(model, num_masked_slots=20).loss, step(model).loss)


@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_packed_rows_are_cropped_document_by_document(flavour):
    model = make_joint({"sequence_contrast": 1.0}, flavour, generator_temperature=1e-6)
    packed = packed_batch()
    loss = step(model, packed).objective_losses["sequence_contrast"]
    # a blind choice among the nine other views of five documents; of a model with small weights, nearly that
    assert loss.item() == pytest.approx(math.log(9), abs=0.5)
    # the same documents as padded rows, and a crop that keeps all, so that both see the same views
    rows = {"input_ids": torch.zeros(5, 9).long(), "labels": torch.full((5, 9), -100)}
    mask = torch.zeros(5, 9).long()
    for document in range(5):
        here = packed["document_ids"] == document
        mask[document, : here.sum()] = 1
        for name, row in rows.items():
            row[document, : here.sum()] = packed[name][here]
    with pytest.MonkeyPatch.context() as patch:
        keep_all = lambda ids: (torch.arange(ids.shape[1]).expand_as(ids), ids)  # noqa: E731
        module = "electra_plus.models.further_objectives_electra_plus"
        patch.setattr(f"{module}.crop_documents", keep_all)
        ours, padded = step(model, packed), step(model, {**rows, "attention_mask": mask})
    torch.testing.assert_close(
        ours.objective_losses["sequence_contrast"],
        padded.objective_losses["sequence_contrast"],
        rtol=1e-5,  # float32 sums over rows of another length
        atol=1e-5,
    )


def test_a_prepared_mask_cannot_be_cropped():
    batch = masked_batch()
    batch["attention_mask"] = batch["attention_mask"][:, None, None, :].expand(-1, 1, 17, 17).bool()
    with pytest.raises(ValueError, match="`sequence_contrast` .* needs `attention_mask` of shape"):
        step(make_joint({"sequence_contrast": 1.0}), batch)
    assert torch.isfinite(step(make_joint({"corrective_lm": 1.0}), batch).loss)


@every_objective
def test_a_few_steps_lower_the_loss(name):
    model = make_joint({name: 1.0}, generator_temperature=1e-6, hidden_dropout_prob=0.0)
    batch = masked_batch(batch_size=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = step(model, batch).objective_losses[name]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0], losses


def test_with_a_bound_of_the_slots_the_whole_step_is_one_graph():
    torch.compiler.reset()
    model, graphs = make_joint(ALL, "modern", generator_temperature=1e-4), []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=count, fullgraph=True)
    for num_masked in (3, 1):
        batch = masked_batch(num_masked=num_masked)
        batch["num_masked_slots"] = 12
        torch.testing.assert_close(step(compiled, batch).loss, step(model, batch).loss)
    assert len(graphs) == 1


def test_a_resized_vocabulary_leaves_the_heads_as_they_are():
    model = make_joint()
    heads = {name: tensor.clone() for name, tensor in model.objectives.state_dict().items()}
    model.resize_token_embeddings(130)
    assert all(torch.equal(heads[name], tensor) for name, tensor in model.objectives.state_dict().items())
    assert torch.isfinite(step(model).loss)


def test_foreign_generator_gives_candidates_too():
    config = {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    generator = transformers.BertForMaskedLM(transformers.BertConfig(**config, intermediate_size=64))
    detector = ElectraPlusForReplacedTokenDetection(small_config())
    model = ElectraPlusForPreTraining.from_generator_discriminator(
        generator, detector, embedding_sharing="word", objective_weights=ALL
    )
    outputs = step(model.eval())
    outputs.loss.backward()
    assert outputs.objective_losses.keys() == ALL.keys()


# ---- the checkpoint ----


@pytest.mark.parametrize("sharing", ["all", "gdes"])
def test_saved_and_loaded_it_gives_the_same_numbers(sharing, tmp_path):
    model = make_joint({**ALL, "corrective_lm": 0.25}, embedding_sharing=sharing)
    model.save_pretrained(tmp_path)
    loaded, report = ElectraPlusForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert loaded.config.objective_weights == {**ALL, "corrective_lm": 0.25}
    # a copy, because weights mapped from a file lie at odd addresses, where the same sums end in other last bits
    ours, theirs = step(copy.deepcopy(loaded.eval())), step(model)
    for name in ("loss", "logits"):
        assert torch.equal(ours[name], theirs[name])
    assert ours.objective_losses == theirs.objective_losses
    assert list(ours.objective_losses) == list(OBJECTIVES)


def test_a_new_objective_starts_from_initialised_weights(tmp_path):
    make_joint(None).save_pretrained(tmp_path)
    model = ElectraPlusForPreTraining.from_pretrained(tmp_path, objective_weights=ALL)
    for name, parameter in model.objectives.named_parameters():
        if name.endswith("dense.weight"):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1)
        else:
            assert (parameter == float(name.endswith("LayerNorm.weight"))).all(), name


@pytest.mark.parametrize(
    "auto_class",
    [
        transformers.AutoModel,
        transformers.AutoModelForMaskedLM,
        transformers.AutoModelForCausalLM,
        ElectraPlusForReplacedTokenDetection,
    ],
)
def test_other_heads_load_the_checkpoint_without_a_word(auto_class, tmp_path, caplog):
    make_joint().save_pretrained(tmp_path)
    caplog.clear()
    _, report = auto_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"]
    if auto_class is not transformers.AutoModelForCausalLM:  # says which of its own weights the detector does not have
        assert not report["missing_keys"] and not caplog.records


def test_parts_leave_the_further_heads_behind(tmp_path):
    model = make_joint()
    assert model.discriminator.config.objective_weights is None
    model.save_pretrained(tmp_path)
    rejoined = ElectraPlusForPreTraining.from_generator_discriminator(str(tmp_path), str(tmp_path))
    assert rejoined.config.objective_weights is None and not rejoined.objectives


def test_conversion_leaves_the_further_heads_behind(tmp_path, caplog):
    from electra_plus.conversion.stock import to_stock

    make_joint().save_pretrained(tmp_path / "joint")
    to_stock(tmp_path / "joint", tmp_path / "stock")
    for part in ("discriminator", "generator"):
        assert not [key for key in load_file(tmp_path / "stock" / part / "model.safetensors") if "objectives" in key]
    assert "objective" not in caplog.text
    detector = transformers.ElectraForPreTraining.from_pretrained(tmp_path / "stock" / "discriminator").eval()
    expected = make_joint()(**text_batch()).logits
    torch.testing.assert_close(detector(**text_batch()).logits, expected, rtol=1e-5, atol=1e-5)


# ---- configuration ----


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"next_sentence": 1.0}, r"`objective_weights` may name \['multi_word_choice'.*got 'next_sentence'"),
        ({"corrective_lm": -1}, r"`objective_weights\['corrective_lm'\]` must be finite and not negative, got -1"),
        ({"corrective_lm": math.nan}, "must be finite and not negative, got nan"),
    ],
)
def test_unknown_objectives_and_impossible_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message) as error:
        ElectraPlusConfig(objective_weights=weights)
    assert "\n" not in str(error.value)


def test_an_objective_without_a_head_is_refused():
    model = make_joint(None)
    model.config.objective_weights = {"corrective_lm": 1.0}
    with pytest.raises(ValueError, match=r"names \['corrective_lm'\], for which this model was built without a head"):
        step(model)
