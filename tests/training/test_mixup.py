"""Mixup of sentence vectors: mixed by hand, under the stock `Trainer`, resumed, and without a trace afterwards."""

import itertools

import pytest
import torch
from model_helpers import small_config
from torch.nn import functional as F
from trainer_helpers import STOCK_ARGUMENTS, losses, weights
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from electra_plus import (
    DataCollatorForPacking,
    ElectraPlusForLongSequenceClassification,
    ElectraPlusForSequenceClassification,
    ElectraPlusForTokenClassification,
)
from electra_plus.training.mixup import SentenceMixup, mixed

LENGTHS = (3, 1, 17, 6, 11, 9, 4, 8)
LABELS = {
    "single_label_classification": [0, 2, 1, 1, 2, 0, 0, 1],
    "multi_label_classification": [[float(n % 2), float(n % 3 == 0), 1.0] for n in range(8)],
    "regression": [0.5, -1.0, 2.0, 0.0, 1.5, -0.5, 3.0, 1.0],
}
PARTNERS = torch.tensor([3, 0, 2, 1, 7, 4, 5, 6])
SHARES = torch.tensor([0.9, 0.25, 0.5, 1.0, 0.0, 0.7, 0.6, 0.1])


def rows_of(problem: str, copies: int = 1) -> list[dict]:
    rng = torch.Generator().manual_seed(0)
    return [
        {"input_ids": torch.randint(5, 99, (length,), generator=rng).tolist(), "labels": label}
        for _ in range(copies)
        for length, label in zip(LENGTHS, LABELS[problem], strict=True)
    ]


def make_model(problem: str, dropout: float = 0.0, model_class=ElectraPlusForSequenceClassification, **fields):
    torch.manual_seed(0)
    number = 1 if problem == "regression" else 3
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "classifier_dropout": dropout}
    return model_class(small_config("modern", num_labels=number, problem_type=problem, **dropouts, **fields))


def collators(tokenizer) -> dict:
    return {"packed": DataCollatorForPacking(tokenizer, row_length=24), "padded": DataCollatorWithPadding(tokenizer)}


def by_hand(model, rows: list[dict], problem: str, class_weights=None) -> torch.Tensor:
    """Every text alone through the encoder, the pairs mixed one by one, and the two losses weighed."""
    head = model.classifier
    vectors = []
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        vectors.append(head.pool(model.electra(ids).last_hidden_state, torch.ones_like(ids))[0])
    total = torch.zeros(())
    for number, row in enumerate(rows):
        share, other = SHARES[number], PARTNERS[number]
        vector = share * vectors[number] + (1 - share) * vectors[other]
        logits = head.out_proj(F.gelu(head.dense(vector)))
        labels = [torch.tensor(one["labels"]) for one in (row, rows[other])]
        if problem == "regression":
            total = total + (logits[0] - (share * labels[0] + (1 - share) * labels[1])) ** 2
        elif problem == "multi_label_classification":
            each = [F.binary_cross_entropy_with_logits(logits, label) for label in labels]
            total = total + share * each[0] + (1 - share) * each[1]
        else:
            scale = torch.ones(3) if class_weights is None else class_weights
            each = [-scale[label] * logits.log_softmax(-1)[label] for label in labels]
            total = total + share * each[0] + (1 - share) * each[1]
    return total / len(rows)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("batch", ["packed", "padded"])
@pytest.mark.parametrize("problem", [*LABELS, "class weights"])
def test_loss_and_gradients_are_those_of_pairs_mixed_by_hand(problem, batch, pooling, tokenizer, monkeypatch):
    class_weights = torch.tensor([0.5, 2.0, 1.0]) if problem == "class weights" else None
    problem = "single_label_classification" if class_weights is not None else problem
    model, rows = make_model(problem, classifier_pooling=pooling).train(), rows_of(problem)
    expected = by_hand(model, rows, problem, class_weights)
    expected.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()

    mixup = SentenceMixup(model, class_weights=class_weights)
    monkeypatch.setattr(mixup, "draw", lambda number: (PARTNERS, SHARES))
    mixup.on_train_begin(None, None, None)
    inputs = collators(tokenizer)[batch](rows)
    labels = inputs.pop("labels")
    found = mixup.loss(model(**inputs), labels)
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # float32, sums in another order
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=name)


def trainer_of(folder, tokenizer, problem="single_label_classification", mixup=True, dropout=0.0, resume=None, **given):
    model = make_model(problem, dropout)
    mix = SentenceMixup(model, alpha=1.0, seed=3)
    trainer = Trainer(
        model,
        TrainingArguments(str(folder), **{**STOCK_ARGUMENTS, **given}),
        train_dataset=rows_of(problem, copies=2),
        eval_dataset=rows_of(problem),
        data_collator=collators(tokenizer)["packed"],
        callbacks=[mix] if mixup else [],
        compute_loss_func=mix.loss if mixup else None,
    )
    return trainer, mix


@pytest.mark.parametrize("problem", LABELS)
def test_whole_shares_train_as_without_mixup_also_with_accumulation(problem, tokenizer, tmp_path, monkeypatch):
    given = {"max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    plain, _ = trainer_of(tmp_path, tokenizer, problem, mixup=False, **given)
    plain.train()
    trainer, mixup = trainer_of(tmp_path, tokenizer, problem, **given)
    monkeypatch.setattr(mixup, "draw", lambda number: (torch.arange(number).flip(0), torch.ones(number)))
    trainer.train()
    assert losses(trainer) == pytest.approx(losses(plain), rel=1e-5)
    for name, parameter in weights(trainer).items():
        # Adam divides gradients by their size, so where they vanish rounding decides: a step is 1e-3
        torch.testing.assert_close(parameter, weights(plain)[name], rtol=0, atol=1e-4, msg=name)


def test_resumed_run_draws_what_an_uninterrupted_one_does(tokenizer, tmp_path):
    given = {
        "dropout": 0.1,
        "save_strategy": "steps",
        "save_steps": 3,
        "max_steps": 5,
        "per_device_train_batch_size": 3,
    }
    given["gradient_accumulation_steps"] = 2
    whole, _ = trainer_of(tmp_path / "whole", tokenizer, **given)
    whole.train()
    resumed, _ = trainer_of(tmp_path / "resumed", tokenizer, **given)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    for name, parameter in weights(resumed).items():
        assert torch.equal(parameter, weights(whole)[name]), name
    plain, _ = trainer_of(tmp_path / "plain", tokenizer, mixup=False, **given)
    plain.train()
    assert losses(plain) != losses(whole)


def test_evaluation_and_what_is_left_are_the_models_own(tokenizer, tmp_path):
    trainer, _ = trainer_of(tmp_path, tokenizer, eval_strategy="steps", eval_steps=2, max_steps=2)
    trainer.train()
    model = trainer.model.eval()
    assert not model.classifier.dense._forward_pre_hooks
    own = model(**collators(tokenizer)["packed"](rows_of("single_label_classification"))).loss.item()
    logged = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert logged == [pytest.approx(own, rel=1e-5)]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(own, rel=1e-5)


def test_training_that_was_broken_off_and_begun_again_mixes_once():
    model = make_model("regression")
    mixup = SentenceMixup(model)
    for _ in range(2):
        mixup.on_train_begin(None, None, None)
    assert len(model.classifier.dense._forward_pre_hooks) == 1


def test_bfloat16_mixes_in_float32(tokenizer, monkeypatch):
    model = make_model("single_label_classification").train()
    mixup = SentenceMixup(model)
    monkeypatch.setattr(mixup, "draw", lambda number: (PARTNERS, SHARES))
    mixup.on_train_begin(None, None, None)
    inputs = collators(tokenizer)["packed"](rows_of("single_label_classification"))
    labels = inputs.pop("labels")
    expected = mixup.loss(model(**inputs), labels)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**inputs)
    found = mixup.loss(outputs, labels)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=0.01)  # bfloat16 has eight bits
    half = torch.tensor([[1.0], [2.0]], dtype=torch.bfloat16)
    assert mixed(half, torch.tensor([1, 0]), torch.tensor([0.3, 0.5])).tolist() == [[1.703125], [1.5]]  # of 1.7, 1.5


def test_shares_are_of_the_beta_distribution_and_partners_a_permutation():
    mixup = SentenceMixup(make_model("regression"), alpha=0.4)
    partners, shares = mixup.draw(4000)
    assert sorted(partners.tolist()) == list(range(4000))
    # mean 1/2 and variance 1 / (4 (2 alpha + 1)), within four standard errors
    assert abs(shares.mean() - 0.5) < 4 * (shares.var() / 4000) ** 0.5
    assert shares.var().item() == pytest.approx(1 / (4 * 1.8), rel=0.06)


def test_draws_follow_from_both_seeds_and_the_step_alone():
    model = make_model("regression")

    def drawn(seed: int, run_seed: int, step: int) -> list[float]:
        mixup = SentenceMixup(model, seed=seed)
        state = type("State", (), {"global_step": step})
        mixup.on_step_begin(type("Arguments", (), {"seed": run_seed}), state, None)
        return mixup.draw(5)[1].tolist()

    assert drawn(0, 0, 7) == drawn(0, 0, 7)
    assert len({tuple(drawn(*numbers)) for numbers in itertools.product((0, 1), repeat=3)}) == 8


def test_a_configuration_that_does_not_say_its_problem_is_read_as_transformers_reads_it():
    logits = {"logits": torch.zeros(2, 3)}
    model = make_model("regression")
    model.config.problem_type = None
    mixup = SentenceMixup(model)
    assert mixup.loss({"logits": torch.ones(2, 1)}, torch.tensor([2.0, 1.0])).item() == 0.5
    model = make_model("single_label_classification")
    model.config.problem_type = None
    mixup = SentenceMixup(model)
    assert mixup.loss(logits, torch.tensor([0, 2])).item() == pytest.approx(torch.log(torch.tensor(3.0)).item())
    assert mixup.loss(logits, torch.ones(2, 3)).item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


def test_other_heads_and_wrong_numbers_are_refused():
    with pytest.raises(
        TypeError, match="classification head over sentence vectors, got ElectraPlusForTokenClassification"
    ):
        SentenceMixup(ElectraPlusForTokenClassification(small_config()))
    with pytest.raises(ValueError, match="`alpha` must be > 0, got 0"):
        SentenceMixup(make_model("regression"), alpha=0)
    SentenceMixup(make_model("regression", model_class=ElectraPlusForLongSequenceClassification))
