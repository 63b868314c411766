"""The table of tasks: what is guessed from columns and labels, and from the class of a model."""

from types import SimpleNamespace

import pytest

from electra_plus.data.example_files import Row
from electra_plus.data.task_columns import TASK_COLUMNS, choose_columns
from electra_plus.data.task_examples import unnested_translation
from electra_plus.recipes.tasks import TASKS, guess_task, make_task, task_class, task_of_config
from electra_plus.registration import HEADS


def rows(*tables: dict) -> list[Row]:
    return [Row(table, f"`a.jsonl` line {number}") for number, table in enumerate(tables, start=1)]


def test_every_task_has_columns_and_a_class_that_is_registered():
    registered = {head.class_name: head.auto_class for head in HEADS}
    for name, task in TASKS.items():
        assert name == task.name and name in TASK_COLUMNS
        # an encoder-decoder is a class of transformers around two of ours
        assert registered.get(task.model_class, "AutoModelForSeq2SeqLM") == task.auto_class


@pytest.mark.parametrize(
    ("table", "task"),
    [
        ({"text": "a", "label": "good"}, "text-classification"),
        ({"sentence1": "a", "sentence2": "b", "label": 1}, "text-classification"),
        ({"text": "a", "label": True}, "text-classification"),
        ({"text": "a", "stars": "5", "label": "3"}, "text-classification"),
        ({"sentence1": "a", "sentence2": "b", "score": 3.8}, "regression"),
        ({"text": "a", "label": "0.5"}, "regression"),
        ({"review": "a", "stars": 4, "title": "b"}, "regression"),
        ({"text": "a", "rating": "5"}, "regression"),
        ({"text": "a", "labels": ["x", "y"]}, "multi-label-classification"),
        ({"tokens": ["a"], "ner_tags": ["O"]}, "token-classification"),
        ({"text": "我在北京", "label": {"city": {"北京": [[2, 3]]}}}, "token-classification"),
        ({"text": "a b", "entities": [{"start": 0, "end": 1, "label": "x"}]}, "token-classification"),
        ({"context": "a", "question": "b", "answers": {"text": [], "answer_start": []}}, "question-answering"),
        ({"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0}, "multiple-choice"),
        ({"text": "Once upon a time"}, "text-generation"),
        ({"source": "the cat", "target": "die Katze"}, "translation"),
        ({"en": "the cat", "de": "die Katze"}, "translation"),
        ({"translation": {"en": "the cat", "de": "die Katze"}}, "translation"),
    ],
)
def test_task_is_guessed_where_columns_and_labels_make_it_certain(table, task):
    assert guess_task(rows(table, table)) == task
    choose_columns(list(unnested_translation(rows(table)[0])), task)  # finds them all


def test_one_number_that_is_not_whole_makes_a_regression():
    assert guess_task(rows({"text": "a", "label": 1.0}, {"text": "a", "label": 1.5})) == "regression"


def test_columns_that_the_user_named_count():
    table = rows({"review": "a", "stars": 3.5, "place": "x"})
    assert guess_task(table, {"text": "review", "label": "stars"}) == "regression"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"text": "a", "verdict": 1},
            r"`a.jsonl` line 1: no task is made for the columns \['text', 'verdict'\].*--columns",
        ),
        ({"text": "a", "stars": "five"}, r"no task is made for the columns \['text', 'stars'\].*--columns"),
        ({"text": "a", "class": 3.5}, r"no task is made for the columns \['text', 'class'\].*--columns"),
        ({"text": "a", "class": ["x"]}, r"no task is made for the columns \['text', 'class'\].*--columns"),
        (
            {"text": "a", "class": 1, "category": 2},
            r"`label` may be any of the columns \['class', 'category'\]. Say which",
        ),
    ],
)
def test_columns_that_fit_nothing_are_told(table, message):
    with pytest.raises(ValueError, match=message):
        guess_task(rows(table))


@pytest.mark.parametrize(
    ("architecture", "fields", "task"),
    [
        ("ElectraPlusForSequenceClassification", {}, "text-classification"),
        ("BertForSequenceClassification", {"num_labels": 1}, "regression"),
        (
            "ElectraForSequenceClassification",
            {"problem_type": "multi_label_classification"},
            "multi-label-classification",
        ),
        ("BertForTokenClassification", {}, "token-classification"),
        ("ElectraForQuestionAnswering", {}, "question-answering"),
        ("ElectraPlusForMultipleChoice", {}, "multiple-choice"),
        ("ElectraPlusForCausalLM", {}, "text-generation"),
        ("BertLMHeadModel", {}, "text-generation"),
        ("EncoderDecoderModel", {"is_encoder_decoder": True}, "translation"),
        ("MarianMTModel", {"is_encoder_decoder": True}, "translation"),
    ],
)
def test_task_of_a_model_is_read_from_its_class(architecture, fields, task):
    config = SimpleNamespace(**{"architectures": [architecture], "num_labels": 2, "problem_type": None, **fields})
    assert task_of_config(config, "m") == task


def test_pretrained_model_has_no_task():
    with pytest.raises(
        ValueError, match="`--model m` holds the class ElectraPlusForPreTraining, which was not fine-tuned"
    ):
        task_of_config(SimpleNamespace(architectures=["ElectraPlusForPreTraining"]), "m")


def test_unknown_tasks_and_options_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"`--task` must be one of \['question-answering'.*got 'sentiment'"):
        task_class("sentiment")
    with pytest.raises(ValueError, match=r"`stride` is no option of text-classification, which has \['max_length'\]"):
        make_task(TASKS["text-classification"], {"stride": 3})
    with pytest.raises(ValueError, match="`stride` must be at least 1 token, got 0"):
        make_task(TASKS["question-answering"], {"stride": 0})
    with pytest.raises(ValueError, match="`score` must be one of .*got 'bleu'"):
        make_task(TASKS["question-answering"], {"score": "bleu"})
    with pytest.raises(ValueError, match="`max_new_tokens` must be at least 1"):
        make_task(TASKS["text-generation"], {"max_new_tokens": 0})
    with pytest.raises(ValueError, match="`temperature` must be 0 or more"):
        make_task(TASKS["text-generation"], {"temperature": -1.0})
