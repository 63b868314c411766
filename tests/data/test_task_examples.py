"""Examples of each task from the shapes that datasets have, and rows that do not fit."""

import math

import pytest

from electra_plus.data.example_files import Row
from electra_plus.data.task_examples import task_examples


def rows_of(*values):
    return [Row(value, f"`a.jsonl` line {number}") for number, value in enumerate(values, start=1)]


def examples_of(task, *values, **options):
    return task_examples(rows_of(*values), task, **options)[0]


def test_labels_are_text_and_whole_numbers_stay_whole():
    rows = [{"sentence": "a", "label": 1}, {"sentence": "b", "label": 0.0}]
    assert examples_of("text-classification", *rows) == [{"text": "a", "label": "1"}, {"text": "b", "label": "0"}]


def test_pair_and_number():
    row = {"sentence1": "a", "sentence2": "b", "score": "3.8"}
    assert examples_of("regression", row) == [{"text": "a", "text_pair": "b", "label": 3.8}]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"text": "a", "labels": ["x", "y"]}, None),
        ({"text": "a", "labels": "x, y"}, None),
        ({"text": "a", "labels": "x|y"}, None),
        ({"text": "a", "x": 1, "z": "0", "y": True}, {"labels": ["x", "z", "y"]}),
    ],
)
def test_several_labels(row, columns):
    assert examples_of("multi-label-classification", row, columns=columns) == [{"text": "a", "labels": ["x", "y"]}]


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": ["叶", "桂", "说"], "ner_tags": ["B-name", "I-name", "O"]},
        {"words": "叶 桂 说", "labels": "B-name I-name O"},
        {"text": "叶桂说", "label": {"name": {"叶桂": [[0, 1]]}}},
        {"text": "叶桂说", "entities": [{"start": 0, "end": 2, "label": "name", "text": "叶桂"}]},
        {"text": "叶桂说", "label": [[0, 2, "name"]]},
    ],
)
def test_tokens_and_spans_give_the_same_tags(row):
    assert examples_of("token-classification", row) == [
        {"tokens": ["叶", "桂", "说"], "tags": ["B-name", "I-name", "O"]}
    ]


def test_parts_of_speech_are_taken_and_other_schemes_are_converted():
    assert (
        examples_of("token-classification", {"tokens": ["a", "cat"], "upos": ["DET", "NOUN"]})[0]["tags"][1] == "NOUN"
    )
    row = {"tokens": ["New", "York", "Ann"], "tags": ["B-city", "E-city", "S-name"]}
    converted = examples_of("token-classification", row, convert_tags=True)
    assert converted[0]["tags"] == ["B-city", "I-city", "B-name"]
    with pytest.raises(ValueError, match="line 1: tag 2 is 'E-city', .* 1 of 1 rows are not IOB2.*--convert-tags"):
        examples_of("token-classification", row)


@pytest.mark.parametrize(
    "answers",
    [
        {"answers": {"text": ["Rome"], "answer_start": [3]}},
        {"answers": [{"text": "Rome", "answer_start": 3, "answer_id": 1}]},
        {"answer": "Rome", "answer_start": "3"},
        {"answer_text": "Rome", "answer_start": 3.0},
    ],
)
def test_answers_of_every_shape(answers):
    row = {"id": 7, "context": "In Rome.", "question": "Where?", **answers}
    expected = {"id": "7", "context": "In Rome.", "question": "Where?"}
    expected["answers"] = {"text": ["Rome"], "answer_start": [3]}
    assert examples_of("question-answering", row) == [expected]


@pytest.mark.parametrize("answers", [{"text": [], "answer_start": []}, []])
def test_question_without_answer(answers):
    row = {"context": "In Rome.", "question": "Why?", "answers": answers}
    assert examples_of("question-answering", row)[0]["answers"] == {"text": [], "answer_start": []}


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1}, {"context", "question"}),
        ({"sent1": "p", "sent2": "He", "ending0": "a", "ending1": "b", "label": 1}, {"context", "question"}),
        ({"context": "p", "question": "q", "choices": ["a", "b"], "label": "1"}, {"context", "question"}),
        ({"context": "p", "question": "q", "choice": ["a", "b"], "answer": "b"}, {"context", "question"}),
        ({"article": "p", "question": "q", "options": ["a", "b"], "answer": "B"}, {"context", "question"}),
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}, {"question"}),
    ],
)
def test_choices_of_every_shape(row, fields):
    (example,) = examples_of("multiple-choice", row)
    assert example["choices"] == ["a", "b"] and example["label"] == 1
    assert set(example) == {"choices", "label"} | fields


@pytest.mark.parametrize(
    "row",
    [{"source": "a", "target": "b"}, {"en": "a", "de": "b"}, {"translation": {"en": "a", "de": "b"}, "source": "book"}],
)
def test_translations_of_every_shape(row):
    assert examples_of("translation", row) == [{"source": "a", "target": "b"}]


def test_languages_can_be_turned_round():
    row = {"translation": {"en": "a", "de": "b"}}
    assert examples_of("translation", row, columns={"source": "de", "target": "en"}) == [{"source": "b", "target": "a"}]


def test_prediction_needs_no_targets():
    assert examples_of("text-classification", {"text": "a", "label": None}, with_targets=False) == [{"text": "a"}]
    assert examples_of("token-classification", {"text": "我 go"}, with_targets=False) == [{"tokens": ["我", "go"]}]
    assert examples_of("question-answering", {"context": "c", "question": "q"}, with_targets=False)
    assert examples_of("translation", {"en": "a"}, with_targets=False, columns={"source": "en"}) == [{"source": "a"}]


def question(**answers):
    return {"context": "In Rome.", "question": "Where?", **answers}


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("text-classification", {"text": "a"}, "has no `label`, only"),
        ("text-classification", {"text": None, "label": "x"}, "`text` must be text, got None"),
        ("text-classification", {"text": "a", "label": None}, r"`label` is missing \(None\)"),
        ("text-classification", {"text": "a", "label": math.nan}, r"`label` is missing \(nan\)"),
        ("text-classification", {"text": "a", "label": ""}, r"`label` is missing \(''\)"),
        ("text-classification", {"text": "a", "label": 0.5}, "`label` must be the name or number of a class, got 0.5"),
        ("text-classification", {"text": "a", "label": 1}, r"`label` is a number \(1\), and text \('x'\) in `a.jsonl` line 1"),
        ("regression", {"text": "a", "label": "high"}, "`label` must be a number, got 'high'"),
        ("regression", {"text": "a", "label": True}, "`label` must be a number, got True"),
        ("regression", {"text": "a", "label": "inf"}, "`label` must be a number, got 'inf'"),
        ("multi-label-classification", {"text": "a", "labels": [0, 1, 1]}, "`labels` has a name twice"),
        ("multi-label-classification", {"text": "a", "labels": None}, "`labels` must be a list of names"),
        ("token-classification", {"tokens": ["a"], "tags": ["O", "O"]}, "`tags` has 2 items and `tokens` 1"),
        ("token-classification", {"tokens": ["a"], "tags": ["I-x"]}, "tag 1 is 'I-x' after 'O'.*1 of 2 rows"),
        ("token-classification", {"tokens": ["a"], "tags": [None]}, "`tags` is missing"),
        ("token-classification", {"tokens": [1], "tags": ["O"]}, "`tokens` must be a list of strings"),
        ("question-answering", question(answers={"text": ["Rome"], "answer_start": [2]}),
         "`answers`: at 2 stands ' Rom', not 'Rome'. It stands at 3."),
        ("question-answering", question(answers={"text": ["Rome"], "answer_start": [-5]}), "at -5 stands ''"),
        ("question-answering", question(answers={"text": ["Paris"], "answer_start": [3]}), "It stands nowhere"),
        ("question-answering", question(answers={"text": [""], "answer_start": [0]}), "no answer is an empty list"),
        ("question-answering", question(answers={"text": ["Rome"]}), "`answers` must be {'text'"),
        ("question-answering", question(answers="Rome"), "or text with a column `answer_start`, got 'Rome'"),
        ("multiple-choice", {"choices": ["a"], "label": 0}, "`choices` must be at least 2"),
        ("multiple-choice", {"choices": ["a", "b"], "label": 2}, "`label` must be the number of a choice, from 0 to 1"),
        ("multiple-choice", {"choices": ["a", "b"], "label": -1}, "`label` must be the number of a choice"),
        ("multiple-choice", {"choices": ["1", "2"], "label": "1"}, r"may mean any of the choices \[0, 1\]"),
        ("multiple-choice", {"choices": ["a", None], "label": 1}, "`choices` must be a list of texts"),
        ("translation", {"source": "a", "target": 3}, "`target` must be text, got 3"),
        ("text-generation", {"text": ["a"]}, r"`text` must be text, got \['a'\]"),
    ],
)  # fmt: skip
def test_row_that_does_not_fit_is_named(task, row, message):
    good = {
        "text-classification": {"text": "a", "label": "x"},
        "regression": {"text": "a", "label": 1.5},
        "multi-label-classification": {"text": "a", "labels": []},
        "token-classification": {"tokens": ["a"], "tags": ["O"]},
        "question-answering": question(answers=[]),
        "multiple-choice": {"choices": ["a", "b"], "label": 0},
        "translation": {"source": "a", "target": "b"},
        "text-generation": {"text": "a"},
    }
    with pytest.raises(ValueError, match=message) as refused:
        examples_of(task, good[task], row)
    assert str(refused.value).startswith("`a.jsonl` line 2")


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[0, 9, "x"]], r"the span 0 to 9 \('x'\) is empty or outside of the text \(0 to 7\)"),
        ([[3, 3, "x"]], "is empty or outside"),
        ([[2, 3, "x"]], "holds white space alone"),
        ([[0, 4, "x"], [3, 7, "y"]], "overlaps the one that ends at 4"),
        ([{"start": 0, "end": 2, "label": "x", "text": "Rome"}], "'Rome' .* does not stand at 0 to 2, but 'In'"),
        ({"x": {"In": [[0, 2]]}}, "'In' .* does not stand at 0 to 3, but 'In '"),
        ([{"start": 0, "end": 2}], "`spans` must be a list of"),
        ([["0", 2, "x"]], "`spans` must be a list of"),
        (None, "`spans` must be a list of"),
    ],
)
def test_span_that_does_not_fit_is_refused(spans, message):
    with pytest.raises(ValueError, match=f"`a.jsonl` line 1: .*{message}"):
        examples_of("token-classification", {"text": "In Rome", "spans": spans})
