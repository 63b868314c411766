"""SetFit on our folders as they are: few labelled texts, trained, saved, reloaded."""

import numpy as np
import pytest
from datasets import Dataset
from head_helpers import every_flavour
from pipeline_helpers import SENTENCES, build, small_tokenizer

pytestmark = pytest.mark.slow

setfit = pytest.importorskip("setfit")

LABELS = [0, 1, 0, 1, 0]


@every_flavour
def test_few_labelled_texts_are_learned_and_remembered(flavour, tmp_path):
    build("PreTraining", flavour=flavour).save_pretrained(tmp_path / "joint")
    small_tokenizer().save_pretrained(tmp_path / "joint")
    classifier = setfit.SetFitModel.from_pretrained(str(tmp_path / "joint"), device="cpu", labels=["bad", "good"])
    before = classifier.encode(list(SENTENCES))
    trainer = setfit.Trainer(
        model=classifier,
        args=setfit.TrainingArguments(
            str(tmp_path / "run"), batch_size=4, max_steps=40, body_learning_rate=1e-3, report_to="none"
        ),
        train_dataset=Dataset.from_dict({"text": list(SENTENCES), "label": LABELS}),
    )
    trainer.train()
    assert np.abs(np.asarray(classifier.encode(list(SENTENCES))) - np.asarray(before)).max() > 1e-5
    assert list(classifier.predict(list(SENTENCES))) == [["bad", "good"][label] for label in LABELS]
    classifier.save_pretrained(str(tmp_path / "saved"))
    reloaded = setfit.SetFitModel.from_pretrained(str(tmp_path / "saved"), device="cpu")
    expected = np.asarray(classifier.predict_proba(list(SENTENCES)))
    np.testing.assert_allclose(np.asarray(reloaded.predict_proba(list(SENTENCES))), expected, atol=1e-6)
