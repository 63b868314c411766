"""sentence-transformers on our folders as they are: bi-encoders and cross-encoders are loaded, trained, saved and reloaded."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from head_helpers import every_flavour
from pipeline_helpers import SENTENCES, build, small_tokenizer
from trainer_helpers import STOCK_ARGUMENTS

pytestmark = pytest.mark.slow  # its import takes seconds

sentence_transformers = pytest.importorskip("sentence_transformers")

PAIRS = list(zip(SENTENCES, SENTENCES[1:] + SENTENCES[:1], strict=True))
ARGUMENTS = {**STOCK_ARGUMENTS, "max_steps": 6, "per_device_train_batch_size": 5}


@pytest.fixture(params=["PreTraining", "SequenceClassification"], ids=["joint folder", "fine-tuned folder"])
def saved(request, flavour, tmp_path):
    """A model and its folder with the tokenizer; a joint one, or a classifier of three labels."""
    fields = {} if request.param == "PreTraining" else {"num_labels": 3}
    model = build(request.param, flavour=flavour, **fields)
    model.save_pretrained(tmp_path / "model")
    small_tokenizer().save_pretrained(tmp_path / "model")
    return model, str(tmp_path / "model")


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@every_flavour
def test_bi_encoder_gives_the_mean_of_the_encoders_states(saved, flavour):
    model, folder = saved
    embeddings = sentence_transformers.SentenceTransformer(folder, device="cpu").encode(list(SENTENCES))
    for sentence, found in zip(SENTENCES, embeddings, strict=True):
        with torch.no_grad():
            states = model.electra(**small_tokenizer()(sentence, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(found, states.mean(dim=0).numpy(), atol=1e-5)  # padded in a batch, alone here


@every_flavour
def test_bi_encoder_is_trained_saved_and_reloaded(saved, flavour, tmp_path):
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    encoder = SentenceTransformer(saved[1], device="cpu")
    before = encoder.encode(list(SENTENCES))
    trainer = SentenceTransformerTrainer(
        encoder,
        args=sentence_transformers.SentenceTransformerTrainingArguments(str(tmp_path / "run"), **ARGUMENTS),
        train_dataset=Dataset.from_dict({"anchor": [one for one, _ in PAIRS], "positive": [two for _, two in PAIRS]}),
        loss=MultipleNegativesRankingLoss(encoder),
    )
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0]
    encoder.save_pretrained(str(tmp_path / "saved"))
    after = encoder.encode(list(SENTENCES))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(
        SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(list(SENTENCES)), after
    )


@every_flavour
def test_cross_encoder_of_a_fine_tuned_folder_gives_its_scores(flavour, tmp_path):
    classifier = build("SequenceClassification", flavour=flavour, num_labels=3)
    classifier.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    found = sentence_transformers.CrossEncoder(str(tmp_path), device="cpu").predict(PAIRS)
    rows = small_tokenizer()(*map(list, zip(*PAIRS, strict=True)), padding=True, return_tensors="pt")
    with torch.no_grad():
        np.testing.assert_allclose(found, classifier(**rows).logits.numpy(), atol=1e-5)


@every_flavour
def test_cross_encoder_is_trained_saved_and_reloaded(saved, flavour, tmp_path):
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, CrossEntropyLoss

    joint = type(saved[0]).__name__ == "ElectraPlusForPreTraining"
    scorer = CrossEncoder(saved[1], device="cpu", **({"num_labels": 1} if joint else {}))
    assert type(scorer.model).__name__ == "ElectraPlusForSequenceClassification"
    labels = [number % 2 for number in range(len(PAIRS))]
    columns = {"one": [one for one, _ in PAIRS], "two": [two for _, two in PAIRS]}
    trainer = CrossEncoderTrainer(
        scorer,
        args=CrossEncoderTrainingArguments(str(tmp_path / "run"), **ARGUMENTS),
        train_dataset=Dataset.from_dict({**columns, "label": [float(label) for label in labels] if joint else labels}),
        loss=(BinaryCrossEntropyLoss if joint else CrossEntropyLoss)(scorer),
    )
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0]
    scorer.save_pretrained(str(tmp_path / "saved"))
    expected = scorer.predict(PAIRS)
    reloaded = CrossEncoder(str(tmp_path / "saved"), device="cpu").predict(PAIRS)
    # weights at another place in memory: products may differ in the last bit
    np.testing.assert_allclose(reloaded, expected, atol=1e-6)
