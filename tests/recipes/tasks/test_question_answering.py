"""Answers in windows of a context: places by hand, windows that overlap, questions without an answer."""

import numpy as np
import pytest

from electra_plus.recipes.tasks.question_answering import QuestionAnswering, _answer_tokens

CONTEXT = "the cat sat on the mat."


def question(*answers: tuple[str, int], context: str = CONTEXT) -> dict:
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    return {"context": context, "question": "who?", "answers": {"text": texts, "answer_start": starts}}


def learned(rows, **options) -> QuestionAnswering:
    task = QuestionAnswering(**options)
    task.learn(rows)
    return task


def scores_for(length: int, start: int, end: int, score: float = 5.0, nothing: float = 0.0) -> np.ndarray:
    """Scores of a window, `(length, 2)`, high for one span and as given for `[CLS]`."""
    scores = np.full((length, 2), -5.0, dtype=np.float32)
    scores[0] = nothing / 2
    scores[start, 0], scores[end, 1] = score / 2, score / 2
    return scores


def test_answer_is_the_span_of_tokens_that_covers_its_characters(words, examples):
    rows = examples(question(("cat sat", 4)))
    encoded = learned(rows, max_length=32).encode(rows, words)
    # [CLS] who ? [SEP] the cat sat on the mat . [SEP]
    assert encoded.rows == [
        {
            "input_ids": [2, 12, 13, 3, 10, 6, 7, 9, 10, 11, 18, 3],
            "token_type_ids": [0] * 4 + [1] * 8,
            "start_positions": 5,
            "end_positions": 6,
        }
    ]
    assert encoded.notes == [(0, 4, [(0, 3), (4, 7), (8, 11), (12, 14), (15, 18), (19, 22), (22, 23)])]
    assert encoded.remarks == []


def test_windows_overlap_and_only_one_that_holds_all_of_an_answer_learns_it(words, examples):
    rows = examples(question(("the mat", 15)))
    encoded = learned(rows, max_length=9, stride=1).encode(rows, words)  # four tokens of context each
    assert [row["input_ids"][4:-1] for row in encoded.rows] == [[10, 6, 7, 9], [9, 10, 11, 18]]
    assert [(row["start_positions"], row["end_positions"]) for row in encoded.rows] == [(0, 0), (5, 6)]
    assert (
        encoded.remarks[0]
        == "1 of 1 contexts are longer than 9 tokens with the question and are read in windows, 2 in all"
    )


def test_answer_that_no_window_holds_is_said(words, examples):
    rows = examples(question((CONTEXT, 0)))
    encoded = learned(rows, max_length=9, stride=1).encode(rows, words)
    assert encoded.remarks[1] == "1 answers stand in no window as a whole, and are not learned"


@pytest.mark.parametrize(
    ("answers", "spans", "expected"),
    [
        ([("cat", 4)], [(0, 3), (4, 7)], (1, 1)),
        ([(" cat ", 3)], [(0, 3), (4, 7)], (1, 1)),  # spaces around an answer belong to no token
        ([("ca", 4)], [(0, 3), (4, 7)], (1, 1)),  # half of a token takes all of it
        ([("the cat", 0)], [(4, 7), (8, 11)], (None, None)),
        ([("dog", 90), ("cat", 4)], [(0, 3), (4, 7)], (1, 1)),  # the first one that stands here
        ([], [(0, 3)], (None, None)),
    ],
)
def test_tokens_of_an_answer(answers, spans, expected):
    given = {"text": [text for text, _ in answers], "answer_start": [start for _, start in answers]}
    assert _answer_tokens(given, spans) == expected


def test_prediction_is_the_best_span_of_all_windows_in_the_contexts_own_letters(words, examples):
    rows = examples(question(("the mat", 15)))
    task = learned(rows, max_length=9, stride=1)
    encoded = task.encode(rows, words)
    found = task.decode([scores_for(9, 5, 6, score=3.0), scores_for(9, 5, 6, score=6.0)], encoded, rows)[0]
    assert (found["prediction"], found["start"], found["end"]) == ("the mat", 15, 22)
    assert found["n_best"][0]["text"] == "the mat" and found["n_best"][1]["text"] == "cat sat"
    assert sum(one["probability"] for one in found["n_best"]) == pytest.approx(1, abs=1e-5)
    assert "null_difference" not in found and task.score == "squad"
    assert task.judge([found], rows) == {"exact_match": 100.0, "f1": 100.0}


def test_no_answer_wins_by_more_than_the_threshold(words, examples):
    rows = examples(question(("cat", 4)), question())
    for threshold, expected in ((0.0, ["cat", ""]), (2.5, ["cat", "cat"]), (-4.0, ["", ""])):
        task = learned(rows, max_length=32, null_threshold=threshold)
        assert task.no_answer and task.score == "squad_v2"
        encoded = task.encode(rows, words)
        assert encoded.rows[1]["start_positions"] == encoded.rows[1]["end_positions"] == 0
        found = task.decode(
            [scores_for(12, 5, 5, 5.0, nothing=2.0), scores_for(12, 5, 5, 1.0, nothing=3.0)], encoded, rows
        )
        assert [one["prediction"] for one in found] == expected
        assert [one["null_difference"] for one in found] == [-3.0, 2.0]
        scores = task.judge(found, rows)
        right = [expected[0] == "cat", expected[1] == ""]
        assert scores["f1"] == scores["exact_match"] == 50.0 * sum(right)
        assert scores["best_f1"] == 100.0 and scores["best_f1_null_threshold"] == pytest.approx(-3.0)


def test_long_answers_and_long_questions_are_cut(words, examples):
    rows = examples({**question(("cat", 4)), "question": "who who who who?"})
    task = learned(rows, max_length=32, max_question_length=2, max_answer_length=2)
    encoded = task.encode(rows, words)
    assert encoded.rows[0]["input_ids"][:5] == [2, 12, 12, 3, 10]
    assert encoded.remarks == ["1 questions are longer than 2 tokens and were cut (max_question_length)"]
    found = task.decode([scores_for(12, 4, 9)], encoded, rows)[0]  # six tokens
    assert len(found["prediction"].split()) <= 2


def test_chinese_is_scored_by_characters(words, examples):
    rows = examples(question(("北京", 2), context="我在北京."))
    task = learned(rows, max_length=32)
    assert task.score == "cmrc2018"
    found = task.decode([scores_for(10, 5, 7)], task.encode(rows, words), rows)
    assert found[0]["prediction"] == "在北京"
    assert task.judge(found, rows)["f1"] == pytest.approx(80.0)  # 2 of 3 and 2 of 2 characters


def test_context_without_a_token_has_the_empty_answer(words, examples):
    rows = examples({"context": "\u200b", "question": "who?"})
    task = QuestionAnswering(max_length=32)
    encoded = task.encode(rows, words, with_targets=False)
    found = task.decode([np.zeros((len(encoded.rows[0]["input_ids"]), 2), dtype=np.float32)], encoded, rows)[0]
    assert found["prediction"] == "" and found["n_best"] == []


def test_rows_without_any_answer_are_told(examples):
    with pytest.raises(ValueError, match="`a.jsonl` line 1: `answers` is empty, here and in all 1 rows"):
        learned(examples(question()))
    task = learned(examples(question(("cat", 4))))
    with pytest.raises(
        ValueError, match="`a.jsonl` line 1: `answers` is empty, which the score squad has no place for"
    ):
        task.check(examples(question()))
