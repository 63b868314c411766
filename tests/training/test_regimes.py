"""Regimes: which parameters move in which step, and how the generator draws."""

import math

import pytest
import torch
from model_helpers import joint_config
from trainer_helpers import make_trainer

from electra_plus import ElectraPlusForMaskedLM, ElectraPlusForPreTraining, ElectraPlusTrainingArguments
from electra_plus.optim.groups import network_of
from electra_plus.training.regimes import Alternating, FrozenGenerator, TwoStage, make_regime


class Recorder:
    """Notes after each optimizer step which parameters moved."""

    def __init__(self, model):
        self.model = model
        self.moved: list[set[str]] = []
        self.before = self.snapshot()

    def snapshot(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def __call__(self, *args, **kwargs):
        after = self.snapshot()
        self.moved.append({name for name in after if not torch.equal(after[name], self.before[name])})
        self.before = after


def moves(tmp_path, tokenizer, rows, num_steps: int, sharing: str = "none", **arguments) -> list[set[str]]:
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        rows,
        model={"embedding_sharing": sharing},
        max_steps=num_steps,
        weight_decay=0.0,
        **arguments,
    )
    recorder = Recorder(trainer.model)
    step = trainer._maybe_log_save_evaluate
    trainer._maybe_log_save_evaluate = lambda *args, **kwargs: (recorder(), step(*args, **kwargs))
    trainer.train()
    return recorder.moved[:num_steps]


def networks(moved: list[set[str]]) -> list[set[str]]:
    return [{network_of(name) for name in names} for names in moved]


def test_joint_steps_move_both(tmp_path, tokenizer, real_rows):
    assert networks(moves(tmp_path, tokenizer, real_rows, 2)) == [{"generator", "discriminator"}] * 2


def test_alternating_steps_move_one_network_each(tmp_path, tokenizer, real_rows):
    arguments = {"regime": "alternating", "regime_kwargs": {"generator_steps": 2, "discriminator_steps": 1}}
    moved = networks(moves(tmp_path, tokenizer, real_rows, 5, **arguments))
    generator, discriminator = {"generator"}, {"discriminator"}
    assert moved == [generator, generator, discriminator, generator, generator]


def test_alternating_steps_both_move_shared_tables(tmp_path, tokenizer, real_rows):
    moved = moves(tmp_path, tokenizer, real_rows, 2, sharing="all", regime="alternating")
    assert all("electra.embeddings.word_embeddings.weight" in names for names in moved)
    assert "electra.encoder.layer.0.output.dense.weight" not in moved[0]
    assert not any(name.startswith("generator.") for name in moved[1])


@pytest.mark.parametrize("sharing", ["none", "gdes"])
def test_two_stages_move_one_network_each(sharing, tmp_path, tokenizer, real_rows):
    moved = moves(tmp_path, tokenizer, real_rows, 4, sharing=sharing, regime="two_stage")
    if sharing == "gdes":  # the discriminator's tables are a sum, written anew in its steps
        moved = [
            {name for name in names if "electra.embeddings." not in name or "generator." in name} for names in moved
        ]
    assert networks(moved) == [{"generator"}, {"generator"}, {"discriminator"}, {"discriminator"}]


def test_second_stage_may_start_from_the_generators_encoder():
    torch.manual_seed(0)
    config = joint_config("modern", generator={"num_hidden_layers": 2}, embedding_sharing="none")
    model = ElectraPlusForPreTraining(config)
    regime = TwoStage(0.5, copy_encoder=True)
    regime.prepare(model)
    ours, theirs = model.electra.encoder.state_dict(), model.generator.electra.encoder.state_dict()
    regime.begin_step(model, step=4, max_steps=10)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    regime.begin_step(model, step=5, max_steps=10)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_copying_needs_networks_of_one_size():
    model = ElectraPlusForPreTraining(joint_config("modern", embedding_sharing="none"))
    with pytest.raises(ValueError, match="generator of the discriminator's size"):
        TwoStage(0.5, copy_encoder=True).prepare(model)


def test_frozen_generator_never_moves(tmp_path, tokenizer, real_rows):
    moved = moves(tmp_path, tokenizer, real_rows, 3, regime="frozen_generator")
    assert networks(moved) == [{"discriminator"}] * 3


def test_temperature_falls_to_one():
    regime = FrozenGenerator(start_temperature=2.0, decay=0.1)
    temperatures = [regime.inputs(step, 100)["generator_temperature"] for step in (0, 10, 100)]
    assert temperatures == pytest.approx([2.0, 1 + math.exp(-1), 1.0], abs=1e-4)


def test_adversarial_steps_turn_the_generator_against_the_detector(tokenizer):
    torch.manual_seed(0)
    model = ElectraPlusForPreTraining(joint_config("modern", embedding_sharing="none", generator_loss_weight=0.0))
    input_ids = torch.randint(5, 40, (4, 12))
    labels = torch.full_like(input_ids, -100)
    labels[:, 3] = input_ids[:, 3]
    gradients = {}
    for weight in (0.0, 1.0, 2.0):
        model.zero_grad()
        torch.manual_seed(1)
        outputs = model(input_ids, labels=labels, networks="adversarial", adversarial_weight=weight)
        outputs.loss.backward()
        gradients[weight] = model.generator.generator_predictions.dense.weight.grad.clone()
        reference = model.discriminator_predictions.dense.weight.grad.clone()
        gradients[f"detector, {weight}"] = reference
    assert gradients[0.0].abs().max() == 0
    assert gradients[1.0].abs().max() > 0
    torch.testing.assert_close(gradients[2.0], 2 * gradients[1.0])
    torch.testing.assert_close(gradients["detector, 0.0"], gradients["detector, 2.0"])  # it learns as ever

    # against: a step along the gradient that the optimizer would take back makes the relaxed detector's loss fall
    model.zero_grad()
    torch.manual_seed(1)
    model(input_ids, labels=labels, networks="adversarial", adversarial_weight=-1.0).loss.backward()
    torch.testing.assert_close(model.generator.generator_predictions.dense.weight.grad, -gradients[1.0])


def test_adversarial_and_joint_give_the_same_values_for_the_same_draws():
    torch.manual_seed(0)
    model = ElectraPlusForPreTraining(joint_config("modern", generator_temperature=1e-4)).eval()
    input_ids = torch.randint(5, 40, (4, 12))
    labels = torch.full_like(input_ids, -100)
    labels[:, [2, 7]] = input_ids[:, [2, 7]]
    joint = model(input_ids, labels=labels)
    adversarial = model(input_ids, labels=labels, networks="adversarial")
    torch.testing.assert_close(adversarial.loss, joint.loss)
    torch.testing.assert_close(adversarial.logits, joint.logits)
    bounded = model(input_ids, labels=labels, networks="adversarial", num_masked_slots=11)
    torch.testing.assert_close(bounded.logits, joint.logits)


def test_shared_tables_are_refused_where_the_generator_must_stand_still(tmp_path, tokenizer, real_rows):
    with pytest.raises(ValueError, match="embedding_sharing='none'"):
        make_trainer(tmp_path, tokenizer, real_rows, regime="two_stage")


def test_a_masked_lm_alone_has_no_regime(tmp_path, tokenizer, real_rows):
    model = ElectraPlusForMaskedLM(joint_config("modern").generator_config)
    with pytest.raises(ValueError, match="needs generator and discriminator"):
        make_trainer(tmp_path, tokenizer, real_rows, model=model, regime="alternating")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_regime("jont"), "must be one of"),
        (lambda: make_regime("alternating", {"k": 2}), "does not take"),
        (lambda: Alternating(generator_steps=0), "at least 1"),
        (lambda: TwoStage(generator_fraction=1.0), r"in \(0, 1\)"),
        (lambda: FrozenGenerator(start_temperature=0.5), "at least 1"),
        (lambda: FrozenGenerator(decay=0), "> 0"),
        (lambda: ElectraPlusTrainingArguments("out", regime="alternating", regime_kwargs={"k": 1}), "does not take"),
        (lambda: ElectraPlusTrainingArguments("out", layerwise_lr_decay=1.5), r"in \(0, 1\]"),
        (lambda: ElectraPlusTrainingArguments("out", generator_learning_rate=-1.0), "must not be negative"),
        (lambda: ElectraPlusTrainingArguments("out", generator_max_grad_norm=1.0, max_grad_norm=0.0), "clips nothing"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
