"""Gradient-disentangled sharing: who trains what, against the formula written out, and what a checkpoint holds."""

import pytest
import torch
import transformers
from model_helpers import VOCAB_SIZE, joint_config, masked_batch
from safetensors.torch import load_file

import electra_plus
from electra_plus import ElectraPlusForPreTraining

FLAVOURS = ("classic", "modern")


def make(flavour, **overrides):
    torch.manual_seed(0)
    model = ElectraPlusForPreTraining(joint_config(flavour, embedding_sharing="gdes", **overrides)).eval()
    for difference in model.embedding_differences.parameters():
        assert not difference.any()  # zero-initialised
        torch.nn.init.normal_(difference, std=0.1)
    return model


def parts(model):
    names = [name for name, _ in model.embedding_differences.named_parameters()]
    theirs = [getattr(model.generator.electra.embeddings, name).weight for name in names]
    ours = [getattr(model.electra.embeddings, name).weight for name in names]
    return names, theirs, list(model.embedding_differences.parameters()), ours


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_step_equals_the_formula_written_out(flavour):
    model = make(flavour)
    names, theirs, differences, _ = parts(model)
    assert names == ["word_embeddings"] + ["position_embeddings"] * (flavour == "classic")
    batch = masked_batch()
    torch.manual_seed(1)
    outputs = model(**batch)
    outputs.loss.backward()

    torch.manual_seed(1)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    corrupted, joint = model.corrupt(labels=batch["labels"], **inputs)
    tables = {
        f"embeddings.{name}.weight": table.detach() + difference.detach()
        for name, table, difference in zip(names, theirs, differences, strict=True)
    }
    tables = {name: table.requires_grad_() for name, table in tables.items()}
    states = torch.func.functional_call(
        model.electra, tables, kwargs={**inputs, "input_ids": corrupted}
    ).last_hidden_state
    logits = model.discriminator_predictions(states)
    kept = joint["rtd_labels"] != -100
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[kept], joint["rtd_labels"][kept].float())
    assert outputs.discriminator_loss.item() == pytest.approx(loss.item(), abs=1e-6)
    expected = torch.autograd.grad(model.config.discriminator_loss_weight * loss, list(tables.values()))
    for difference, gradient in zip(differences, expected, strict=True):
        assert torch.allclose(difference.grad, gradient, atol=1e-5)
    for table, gradient in zip(theirs, torch.autograd.grad(joint["generator_loss"], theirs), strict=True):
        assert torch.allclose(table.grad, gradient, atol=1e-6)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_discriminator_follows_both_after_a_step_and_gets_no_gradient(flavour):
    model = make(flavour)
    _, theirs, differences, ours = parts(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert not any(table is parameter for table in ours for parameter in trained)
    before = [table.detach().clone() for table in (*theirs, *differences)]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    model(**masked_batch()).loss.backward()
    assert all(table.grad is None for table in ours)
    optimizer.step()
    assert not any(torch.equal(old, new) for old, new in zip(before, (*theirs, *differences), strict=True))
    detector = model.discriminator  # up to date before the next forward pass
    for name, theirs_now, difference in zip(*parts(model)[:3], strict=True):
        assert torch.equal(getattr(detector.electra.embeddings, name).weight, theirs_now + difference)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_folder_serves_every_head_folded_and_goes_on_to_the_bit(flavour, tmp_path):
    model = make(flavour)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model(**masked_batch()).loss.backward()
    optimizer.step()  # the discriminator's tables are one step behind now
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    words = "embeddings.word_embeddings.weight"
    folded = stored[f"generator.electra.{words}"] + stored["embedding_differences.word_embeddings"]
    assert torch.equal(stored[f"electra.{words}"], folded)

    encoder, info = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(encoder.get_input_embeddings().weight, folded)
    masked_lm = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(masked_lm.get_input_embeddings().weight, stored[f"generator.electra.{words}"])
    for name in ("ElectraPlusForSequenceClassification", "ElectraPlusForCausalLM"):
        _, info = getattr(electra_plus, name).from_pretrained(tmp_path, output_loading_info=True)
        assert not info["unexpected_keys"], name

    loaded, info = transformers.AutoModelForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert not loaded.get_input_embeddings().weight.requires_grad
    for (name, before), after in zip(model.state_dict().items(), loaded.eval().state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    losses = []
    for joint in (model, loaded):
        joint.zero_grad()
        torch.manual_seed(3)
        outputs = joint(**masked_batch())
        outputs.loss.backward()
        losses.append((outputs.loss, joint.embedding_differences.word_embeddings.grad))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*losses, strict=True))


def test_joining_two_models_changes_neither():
    generator = make("classic").generator
    detector = electra_plus.ElectraPlusForReplacedTokenDetection(joint_config("classic"))
    input_ids = masked_batch()["input_ids"]
    joint = ElectraPlusForPreTraining.from_generator_discriminator(generator, detector, embedding_sharing="gdes")
    assert joint.embedding_differences.word_embeddings.any()
    assert torch.allclose(joint.eval()(input_ids).logits, detector.eval()(input_ids).logits, atol=1e-6)
    assert torch.equal(joint.generator(input_ids).logits, generator(input_ids).logits)


def test_bert_generator_with_other_positions_shares_words_only():
    config = transformers.BertConfig(vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    detector = electra_plus.ElectraPlusForReplacedTokenDetection(
        electra_plus.ElectraPlusConfig.preset("modern-tiny", vocab_size=VOCAB_SIZE, embedding_size=32)
    )
    joint = ElectraPlusForPreTraining.from_generator_discriminator(
        transformers.BertForMaskedLM(config), detector, embedding_sharing="gdes"
    )
    assert [name for name, _ in joint.embedding_differences.named_parameters()] == ["word_embeddings"]
    joint(**masked_batch()).loss.backward()
    assert joint.embedding_differences.word_embeddings.grad.any()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_resized_tables_keep_their_rows_and_stay_a_sum(flavour):
    model = make(flavour)
    model.fold_embeddings()
    before = model.get_input_embeddings().weight[:VOCAB_SIZE].clone()
    model.resize_token_embeddings(VOCAB_SIZE + 3)
    _, theirs, differences, ours = parts(model)
    assert differences[0].shape == ours[0].shape == (VOCAB_SIZE + 3, before.shape[1])
    assert torch.equal(ours[0][:VOCAB_SIZE], before) and torch.equal(ours[0], theirs[0] + differences[0])
    assert not differences[0][VOCAB_SIZE:].any() and not ours[0].requires_grad
    model(**masked_batch()).loss.backward()


def test_unequal_widths_are_refused():
    with pytest.raises(ValueError, match="`embedding_sharing='gdes'` needs tables of one width"):
        electra_plus.ElectraPlusConfig.preset(
            "tiny", embedding_sharing="gdes", generator_config={"model_type": "bert", "hidden_size": 60, "num_attention_heads": 2}
        )  # fmt: skip


def test_stock_trainer_trains_and_resumes(tmp_path):
    rows = [{"input_ids": ids} for ids in masked_batch(batch_size=8)["input_ids"].tolist()]

    def collate(features):
        ids = torch.tensor([feature["input_ids"] for feature in features])
        masked = torch.zeros_like(ids, dtype=torch.bool)
        masked[:, 5:8] = True
        return {"input_ids": ids.masked_fill(masked, 4), "labels": ids.masked_fill(~masked, -100)}

    def trained(folder, steps, resume=False):
        arguments = transformers.TrainingArguments(
            str(folder), max_steps=steps, per_device_train_batch_size=4, save_steps=2, report_to="none", use_cpu=True,
            disable_tqdm=True, seed=1, learning_rate=1e-3, lr_scheduler_type="constant",
        )  # fmt: skip
        torch.manual_seed(0)
        model = ElectraPlusForPreTraining(joint_config("classic", embedding_sharing="gdes"))
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
        trainer.train(resume_from_checkpoint=resume)
        return model.state_dict()

    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "parts", 2)
    resumed = trained(tmp_path / "parts", 4, resume=True)
    assert whole["embedding_differences.word_embeddings"].any()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
