"""`evaluate.evaluator` on our folders: the scores that one counts by hand from the pipeline's answers."""

import evaluate
import pytest
from datasets import Dataset
from head_helpers import every_flavour
from pipeline_helpers import SENTENCES, build, small_tokenizer

import electra_plus
from electra_plus.metrics import load_metric


@pytest.fixture
def folder(flavour, tmp_path):
    build("SequenceClassification", flavour=flavour, num_labels=3).save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    return str(tmp_path)


@every_flavour
def test_evaluator_counts_what_the_pipeline_answers(folder, flavour):
    labels = [0, 1, 2, 0, 1]
    mapping = {f"LABEL_{number}": number for number in range(3)}
    answers = electra_plus.pipeline("text-classification", folder, device="cpu")(list(SENTENCES))
    right = [mapping[answer["label"]] == label for answer, label in zip(answers, labels, strict=True)]
    scores = evaluate.evaluator("text-classification").compute(
        folder,  # the path: with a pipeline evaluate 0.4.6 asks transformers for TensorFlow classes that are gone
        Dataset.from_dict({"text": list(SENTENCES), "label": labels}),
        metric=load_metric("accuracy"),
        label_mapping=mapping,
    )
    assert scores["accuracy"] == sum(right) / len(right)
    assert scores["samples_per_second"] > 0
