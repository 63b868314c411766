"""Choices as pairs: what stands before which, questions with fewer choices, what is cut."""

import numpy as np

from electra_plus.recipes.tasks.multiple_choice import MultipleChoice


def test_context_stands_before_question_and_choice(words, examples):
    rows = examples({"context": "the mat", "question": "who", "choices": ["a cat", "mat"], "label": 1})
    encoded = MultipleChoice(max_length=16).encode(rows, words)
    assert encoded.rows == [
        {
            "input_ids": [[2, 10, 11, 3, 12, 5, 6, 3], [2, 10, 11, 3, 12, 11, 3]],
            "token_type_ids": [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1]],
            "labels": 1,
        }
    ]
    without_context = examples({"question": "who", "choices": ["a", "cat"], "label": 0})
    assert MultipleChoice(max_length=16).encode(without_context, words).rows[0]["input_ids"] == [
        [2, 12, 3, 5, 3],
        [2, 12, 3, 6, 3],
    ]
    alone = examples({"choices": ["a", "cat"], "label": 0})
    assert MultipleChoice(max_length=16).encode(alone, words).rows[0]["input_ids"] == [[2, 5, 3], [2, 6, 3]]


def test_question_with_fewer_choices_repeats_a_wrong_one_and_never_predicts_it(words, examples):
    rows = examples(
        {"question": "who", "choices": ["a", "cat", "mat"], "label": 0},
        {"question": "who", "choices": ["a", "cat"], "label": 1},
    )
    task = MultipleChoice(max_length=16)
    encoded = task.encode(rows, words)
    assert encoded.rows[1]["input_ids"] == [[2, 12, 3, 5, 3], [2, 12, 3, 6, 3], [2, 12, 3, 5, 3]]
    assert encoded.rows[1]["labels"] == 1
    found = task.decode([np.array([0.0, 0.0, 9.0]), np.array([0.0, 1.0, 9.0])], encoded, rows)
    assert [one["prediction"] for one in found] == [2, 1] and found[1]["choice"] == "cat"
    assert len(found[1]["probabilities"]) == 2 and sum(found[1]["probabilities"]) == 1
    assert task.judge(found, rows) == {"accuracy": 0.5}


def test_context_is_cut_and_not_the_choice_and_that_is_said(words, examples):
    rows = examples({"context": "the cat sat on the mat", "choices": ["a cat", "mat"], "label": 0})
    encoded = MultipleChoice(max_length=8).encode(rows, words)
    assert encoded.rows[0]["input_ids"] == [[2, 10, 6, 7, 3, 5, 6, 3], [2, 10, 6, 7, 9, 3, 11, 3]]
    assert encoded.remarks == [
        "1 of 1 questions have a choice that is longer than 8 tokens with its context, which was cut (--max-length)"
    ]


def test_choices_longer_than_a_row_are_cut_too(words, examples):
    rows = examples({"context": "the cat", "choices": ["a cat sat on the mat", "mat"], "label": 0})
    encoded = MultipleChoice(max_length=8).encode(rows, words)
    assert max(map(len, encoded.rows[0]["input_ids"])) == 8
