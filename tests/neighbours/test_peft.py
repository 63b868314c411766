"""PEFT: adapters on our models are trained by either trainer, saved, reloaded and merged."""

import pytest
import torch
from head_helpers import batch_for, every_flavour, labelled_batch_for, make_model
from trainer_helpers import STOCK_ARGUMENTS
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

import electra_plus

peft = pytest.importorskip("peft")

NAME = "ElectraPlusForSequenceClassification"
TRAINERS = {
    "ours": (electra_plus.ElectraPlusTrainer, electra_plus.ElectraPlusTrainingArguments),
    "stock": (Trainer, TrainingArguments),
}


def lora(**arguments):
    return peft.LoraConfig(target_modules="all-linear", r=4, **arguments)


def rows_of(batch: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    return [{name: tensor[row] for name, tensor in batch.items()} for row in range(len(batch["input_ids"]))]


def train(model, rows, folder, trainer: str = "ours", resume: bool = False, **arguments):
    trainer_class, arguments_class = TRAINERS[trainer]
    arguments = {**STOCK_ARGUMENTS, "max_steps": 6, "learning_rate": 1e-2, **arguments}
    trained = trainer_class(model=model, args=arguments_class(str(folder), **arguments), train_dataset=rows)
    trained.train(resume_from_checkpoint=resume)
    return trained


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def logits_of(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**batch).logits


@pytest.fixture
def base(flavour, tmp_path):
    """The folder of a classifier."""
    make_model(NAME, flavour).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def wrapped(base):
    torch.manual_seed(1)
    classifier = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(base)
    return peft.get_peft_model(classifier, lora(task_type="SEQ_CLS", lora_dropout=0.1))


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
@every_flavour
def test_adapter_is_trained_saved_reloaded_and_merged(flavour, trainer, base, tmp_path):
    model, before = wrapped(base), electra_plus.ElectraPlusForSequenceClassification.from_pretrained(base)
    trained = train(model, rows_of(labelled_batch_for(NAME)), tmp_path / "run", trainer)
    assert losses(trained)[-1] < losses(trained)[0]
    frozen = dict(before.named_parameters())
    for name, weights in model.base_model.model.named_parameters():
        if "lora_" not in name and "modules_to_save" not in name:
            original = frozen[name.replace(".base_layer", "").replace(".original_module", "")]
            assert torch.equal(weights, original) and not weights.requires_grad, name
    trained.save_model(str(tmp_path / "adapter"))
    assert not (tmp_path / "adapter" / "model.safetensors").exists()

    batch = batch_for(NAME)
    expected = logits_of(model, batch)
    assert (expected - logits_of(before, batch)).abs().max() > 1e-2
    reloaded = peft.AutoPeftModelForSequenceClassification.from_pretrained(str(tmp_path / "adapter"))
    torch.testing.assert_close(logits_of(reloaded, batch), expected, rtol=0, atol=1e-6)

    merged = reloaded.merge_and_unload()
    assert type(merged).__name__ == NAME
    torch.testing.assert_close(logits_of(merged, batch), expected, rtol=0, atol=1e-6)
    merged.save_pretrained(tmp_path / "merged")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert plain.state_dict().keys() == before.state_dict().keys()
    torch.testing.assert_close(logits_of(plain, batch), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@every_flavour
def test_stopped_training_of_an_adapter_goes_on_exactly(flavour, base, tmp_path):
    rows = rows_of(labelled_batch_for(NAME)) * 4
    arguments = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 3}
    whole = train(wrapped(base), rows, tmp_path / "whole", **arguments)
    # the end of the schedule is that of six steps
    train(wrapped(base), rows, tmp_path / "run", **arguments)
    (tmp_path / "run" / "checkpoint-6").rename(tmp_path / "later")
    resumed = train(wrapped(base), rows, tmp_path / "run", resume=True, **arguments)
    assert losses(resumed) == losses(whole)
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
@every_flavour
def test_joint_model_is_pretrained_through_adapters(flavour, trainer, tmp_path):
    joint = make_model("ElectraPlusForPreTraining", flavour)
    tables = joint.electra.embeddings.word_embeddings.weight.clone()
    model = peft.get_peft_model(joint, lora())
    adapted = {name for name, weights in model.named_parameters() if weights.requires_grad}
    assert any(".generator.electra.encoder" in name for name in adapted)
    assert any(".discriminator_predictions." in name for name in adapted)
    trained = train(model, rows_of(labelled_batch_for("ElectraPlusForPreTraining")), tmp_path, trainer, max_steps=20)
    assert losses(trained)[-1] < losses(trained)[0]
    assert torch.equal(joint.electra.embeddings.word_embeddings.weight, tables)
    moved = [name for name, weights in model.named_parameters() if "lora_B" in name and weights.abs().max() > 0]
    assert len(moved) == sum("lora_B" in name for name in adapted)  # of both networks


@every_flavour
def test_adapter_is_added_to_the_model_itself(flavour, base, tmp_path):
    model = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(base)
    batch = batch_for(NAME)
    before = logits_of(model, batch)
    model.add_adapter(peft.LoraConfig(target_modules=["query", "value"], r=2, init_lora_weights=False))
    assert len([name for name, weights in model.named_parameters() if weights.requires_grad]) == 8
    after = logits_of(model, batch)
    assert not torch.allclose(after, before, atol=1e-5)
    model.save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    # the adapter's configuration says which folder it belongs to
    again = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(logits_of(again, batch), after, rtol=0, atol=1e-6)
    again.disable_adapters()
    torch.testing.assert_close(logits_of(again, batch), before, rtol=0, atol=1e-6)
