"""Entities are found as seqeval finds them, read leniently or to the letter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_plus.metrics.entities import entity_scores, entity_spans

TAGS = ["O", "B-PER", "I-PER", "B-地名", "I-地名", "B-event-big", "I-event-big"]


def random_tags(rng, num_sentences: int) -> list[list[str]]:
    return [list(rng.choice(TAGS, rng.integers(0, 12))) for _ in range(num_sentences)]


@pytest.mark.parametrize(
    ("tags", "lenient", "strict"),
    [
        ([], set(), set()),
        (["O", "O"], set(), set()),
        (["B-A", "I-A", "I-A"], {("A", 0, 3)}, {("A", 0, 3)}),
        (["B-A", "B-A"], {("A", 0, 1), ("A", 1, 2)}, {("A", 0, 1), ("A", 1, 2)}),
        (["I-A", "I-A", "B-A"], {("A", 0, 2), ("A", 2, 3)}, {("A", 2, 3)}),
        (["B-A", "I-B", "I-B"], {("A", 0, 1), ("B", 1, 3)}, {("A", 0, 1)}),
        (["B", "I", "O"], {("_", 0, 2)}, {("_", 0, 2)}),
        (["B-x-y", "I-x-y"], {("x-y", 0, 2)}, {("x-y", 0, 2)}),
    ],
)
def test_spans_worked_by_hand(tags, lenient, strict):
    assert entity_spans(tags) == lenient
    assert entity_spans(tags, strict=True) == strict


@given(st.lists(st.sampled_from(TAGS), max_size=20))
def test_spans_are_those_of_seqeval(tags):
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    expected = {(entity_type, start, last + 1) for entity_type, start, last in labeling.get_entities(tags)}
    assert entity_spans(tags) == expected


@given(st.lists(st.sampled_from(TAGS), max_size=20))
def test_strict_spans_are_those_of_seqeval(tags):
    scheme = pytest.importorskip("seqeval.scheme")
    entities = scheme.Entities([tags], scheme.IOB2).entities[0]
    assert entity_spans(tags, strict=True) == {(entity.tag, entity.start, entity.end) for entity in entities}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("num_sentences", [1, 63, 100])
def test_scores_equal_those_of_seqeval(num_sentences, strict):
    metrics = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme")
    rng = np.random.default_rng(num_sentences)
    references = [["B-PER", "I-PER"], *random_tags(rng, num_sentences)]
    predictions = [[tag if rng.random() < 0.8 else str(rng.choice(TAGS)) for tag in tags] for tags in references]
    mode = {"mode": "strict", "scheme": scheme.IOB2} if strict else {}
    expected = metrics.classification_report(references, predictions, output_dict=True, zero_division=0, **mode)
    scores = entity_scores(predictions, references, strict)
    assert scores["overall_accuracy"] == pytest.approx(metrics.accuracy_score(references, predictions))
    for name in ("precision", "recall", "f1"):
        key = name.replace("f1", "f1-score")
        assert scores[f"overall_{name}"] == pytest.approx(expected["micro avg"][key])
        for entity_type in expected.keys() - {"micro avg", "macro avg", "weighted avg"}:
            assert scores[entity_type][name] == pytest.approx(expected[entity_type][key])
            assert scores[entity_type]["number"] == expected[entity_type]["support"]


def test_scores_worked_by_hand():
    references = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predictions = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-ORG"]]
    scores = entity_scores(predictions, references)
    assert scores["PER"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "number": 1}  # the end is wrong
    assert scores["LOC"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "number": 2}
    assert scores["ORG"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "number": 0}
    assert scores["overall_precision"] == 2 / 4
    assert scores["overall_recall"] == 2 / 3
    assert scores["overall_f1"] == pytest.approx(4 / 7)
    assert scores["overall_accuracy"] == 4 / 6


def test_sentences_without_entities_score_zero():
    overall = {"overall_precision": 0.0, "overall_recall": 0.0, "overall_f1": 0.0, "overall_accuracy": 1.0}
    assert entity_scores([["O", "O"], []], [["O", "O"], []]) == overall


def test_wrong_tags_are_refused():
    with pytest.raises(ValueError, match="equally many sentences, got 1 and 2"):
        entity_scores([["O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="got 1 and 2 tags in sentence 1"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ValueError, match="got 'PER'. Convert the tags to IOB2"):
        entity_spans(["PER"])
    with pytest.raises(ValueError, match="at least one tag"):
        entity_scores([[]], [[]])
