"""Tags of words: which token carries them, sentences longer than a row, words without a token."""

import numpy as np
import pytest

from electra_plus.recipes.tasks.tagging import CJK_RANGES, TokenClassification, joined

SENTENCE = {"tokens": ["cats", "sat", "我", "在", "北", "京"], "tags": ["O", "O", "O", "O", "B-city", "I-city"]}


def learned(rows, **options) -> TokenClassification:
    task = TokenClassification(**options)
    task.learn(rows)
    return task


def one_hot(task: TokenClassification, tags: list[str]) -> np.ndarray:
    """Scores that make these tags, one a token."""
    scores = np.zeros((len(tags), len(task.names)), dtype=np.float32)
    for place, tag in enumerate(tags):
        scores[place, task.ids[tag]] = 9
    return scores


def test_first_token_of_a_word_carries_its_tag(words, examples):
    rows = examples(SENTENCE)
    task = learned(rows, max_length=16)
    assert task.names == ["B-city", "I-city", "O"]
    encoded = task.encode(rows, words)
    assert encoded.rows == [
        {"input_ids": [2, 6, 8, 7, 14, 15, 16, 17, 3], "labels": [-100, 2, -100, 2, 2, 2, 0, 1, -100]}
    ]
    assert encoded.notes == [(0, [0, 1, 2, 3, 4, 5], [1, 3, 4, 5, 6, 7])] and encoded.remarks == []
    scores = one_hot(task, ["O", "O", "B-city", "O", "O", "O", "B-city", "I-city", "O"])
    found = task.decode([scores], encoded, rows)[0]
    assert found["prediction"] == SENTENCE["tags"]  # what the second piece of "cats" says does not count
    assert found["entities"] == [{"label": "city", "start": 4, "end": 6, "text": "北京"}]
    assert task.judge([found], rows) == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "accuracy": 1.0}


def test_long_sentence_is_read_in_pieces_and_that_is_said(words, examples):
    rows = examples(SENTENCE, {"tokens": ["a"], "tags": ["O"]})
    task = learned(rows, max_length=6)  # four tokens of text
    encoded = task.encode(rows, words)
    assert [row["input_ids"] for row in encoded.rows] == [[2, 6, 8, 7, 14, 3], [2, 15, 16, 17, 3], [2, 5, 3]]
    assert encoded.remarks == [
        "1 of 2 rows are longer than 6 tokens and are read in pieces, which may cut an entity in two (--max-length)"
    ]
    scores = [
        one_hot(task, ["O"] * 6),
        one_hot(task, ["O", "O", "B-city", "I-city", "O"]),
        one_hot(task, ["O", "O", "O"]),
    ]
    assert [one["prediction"] for one in task.decode(scores, encoded, rows)] == [SENTENCE["tags"], ["O"]]


def test_word_without_a_token_is_outside_and_a_very_long_one_is_cut(words, examples):
    rows = examples({"tokens": ["a", "\u200b", "catssssss"], "tags": ["O", "O", "B-x"]}, {"tokens": [], "tags": []})
    task = learned(rows, max_length=5)
    encoded = task.encode(rows, words)
    assert encoded.rows[0]["input_ids"] == [2, 5, 3] and encoded.rows[1]["input_ids"] == [2, 6, 8, 8, 3]
    assert encoded.remarks[1] == "1 words have more than 3 tokens, of which only the first 3 are read"
    scores = [one_hot(task, ["B-x"] * len(row["input_ids"])) for row in encoded.rows]
    assert [one["prediction"] for one in task.decode(scores, encoded, rows)] == [["B-x", "O", "B-x"], []]


def test_tags_without_a_scheme_are_scored_word_by_word(words, examples):
    rows = examples({"tokens": ["a", "cat"], "tags": ["DET", "NOUN"]})
    task = learned(rows, max_length=8)
    found = task.decode([one_hot(task, ["DET"] * 4)], task.encode(rows, words), rows)
    assert "entities" not in found[0] and task.metrics == ("accuracy",)
    assert task.judge(found, rows) == {"accuracy": 0.5}


def test_class_weights_count_tags_and_nothing_else(words, examples):
    rows = examples(SENTENCE)
    task = learned(rows, max_length=16)
    assert task.class_weights(["balanced"], task.encode(rows, words).rows).tolist() == [2.0, 2.0, 0.5]


def test_tags_that_cannot_be_learned_or_scored_are_told_with_their_row(examples):
    with pytest.raises(ValueError, match="`a.jsonl` line 1: `tags` is O for every word"):
        learned(examples({"tokens": ["a"], "tags": ["O"]}))
    with pytest.raises(ValueError, match="`a.jsonl` line 1: `tags` is 'B-river', which no training row has"):
        learned(examples(SENTENCE)).check(examples({"tokens": ["a"], "tags": ["B-river"]}))


def test_chinese_is_joined_without_spaces():
    assert all(first < last for first, last in CJK_RANGES) and len(CJK_RANGES) == 4
    assert joined(["New", "York", "在", "美", "国", "2019", "year"]) == "New York在美国2019 year"
