"""Every metric works in `evaluate` without a network or a file, and gives the functions' scores."""

import importlib
import multiprocessing
import os
import subprocess
import sys

import evaluate
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from model_helpers import small_config

from electra_plus import ElectraPlusForSequenceClassification, ElectraPlusForTokenClassification
from electra_plus.metrics import load_metric
from electra_plus.metrics.detection import detection_scores
from electra_plus.metrics.evaluate_metrics import METRICS


def question(number: str, *texts: str) -> dict:
    return {"id": number, "answers": {"text": list(texts), "answer_start": [0] * len(texts)}}


QUESTIONS = [question("1", "the cat"), question("2", "dog", "big dog")]
ANSWERS = [{"id": "1", "prediction_text": "cat"}, {"id": "2", "prediction_text": "big"}]
# name: predictions, references, some scores
EXAMPLES = {
    "accuracy": ([0, 1, 1], [0, 1, 0], {"accuracy": 2 / 3}),
    "f1": ([0, 1, 1], [0, 1, 0], {"f1": 2 / 3}),
    "matthews_correlation": ([0, 1, 1], [0, 1, 0], {"matthews_correlation": 0.5}),
    "pearsonr": ([0.0, 1.0, 1.0], [0, 1, 0], {"pearsonr": 0.5}),
    "spearmanr": ([1, 2, 9], [0.1, 0.2, 0.3], {"spearmanr": 1.0}),
    "seqeval": ([["B-A", "I-A"], ["I-A"]], [["B-A", "I-A"], ["O"]], {"overall_precision": 0.5, "overall_recall": 1.0}),
    "squad": (ANSWERS, QUESTIONS, {"exact_match": 50.0, "f1": 100 * (1 + 2 / 3) / 2}),
    "squad_v2": (
        [{**answer, "no_answer_probability": 0.1} for answer in ANSWERS],
        QUESTIONS,
        {"exact": 50.0, "HasAns_total": 2, "best_exact_thresh": 0.1},
    ),
    "cmrc2018": (
        [{"id": "1", "prediction_text": "《红楼梦》"}],
        [question("1", "红楼梦")],
        {"exact_match": 100.0, "f1": 100.0},
    ),
    "sacrebleu": (["the cat sat on the mat"], ["the cat sat on the mat"], {"score": pytest.approx(100.0)}),
    "chrf": (["the cat"], [["the cat", "a cat"]], {"score": 100.0}),
    "replaced_token_detection": (
        [[2.0, -1.0], [3.0]],
        [[1, 0], [-100]],
        {"accuracy": 1.0, "auc": 1.0, "replaced_rate": 0.5},
    ),
}
needs_sacrebleu = pytest.mark.skipif(importlib.util.find_spec("sacrebleu") is None, reason="needs sacrebleu")
NAMES = [pytest.param(name, marks=needs_sacrebleu if name in ("sacrebleu", "chrf") else ()) for name in METRICS]


@pytest.mark.parametrize("name", NAMES)
def test_scores_come_whole_or_batch_by_batch(name):
    predictions, references, expected = EXAMPLES[name]
    metric = load_metric(name)
    assert isinstance(metric, evaluate.Metric) and metric.name == name
    scores = metric.compute(predictions=predictions, references=references)
    assert {key: scores[key] for key in expected} == pytest.approx(expected)
    for prediction, reference in zip(predictions, references, strict=True):
        metric.add_batch(predictions=[prediction], references=[reference])
    assert metric.compute() == scores


def test_nothing_is_loaded_early_fetched_or_written(tmp_path):
    code = """
import sys, electra_plus.metrics
loaded = {"evaluate", "datasets", "sklearn", "seqeval", "sacrebleu"} & set(sys.modules)
assert not loaded, loaded
import socket
def refuse(*arguments, **options): raise AssertionError("the network was asked")
socket.create_connection = socket.socket.connect = socket.getaddrinfo = refuse
metric = electra_plus.metrics.load_metric("accuracy")
metric.add_batch(predictions=[1], references=[1])
metric.add(prediction=0, reference=1)
assert metric.compute() == {"accuracy": 0.5}
"""
    # a home of its own, where a download would have to land
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    environment = {
        name: value for name, value in environment.items() if name not in ("HF_HUB_OFFLINE", "HF_METRICS_CACHE")
    }
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_arrays_and_tensors_are_taken():
    labels = np.array([0, 1, 1])
    assert load_metric("accuracy").compute(predictions=torch.tensor([0, 1, 1]), references=labels) == {"accuracy": 1.0}
    logits, labels = torch.randn(3, 50), torch.randint(-1, 2, (3, 50))
    scores = load_metric("replaced_token_detection").compute(predictions=logits, references=labels)
    assert scores == detection_scores(logits, labels)


def test_options_hold_from_loading_on_and_for_one_call():
    examples = {"predictions": [0, 2, 2], "references": [0, 1, 2]}
    metric = load_metric("f1", average="macro")
    assert metric.compute(**examples) == {"f1": pytest.approx(5 / 9)}
    assert metric.compute(**examples, average="micro") == {"f1": pytest.approx(2 / 3)}
    assert metric.compute(**examples) == {"f1": pytest.approx(5 / 9)}
    assert load_metric("f1").compute(predictions=[0, 1], references=[0, 0], pos_label=0) == {"f1": pytest.approx(2 / 3)}
    examples = {"predictions": [["B-A"]], "references": [["I-A"]]}
    assert load_metric("seqeval").compute(**examples)["overall_f1"] == 1.0
    assert load_metric("seqeval", mode="strict").compute(**examples)["overall_recall"] == 0.0
    answers = [{"id": "1", "prediction_text": "cat", "no_answer_probability": 0.9}]
    metric = load_metric("squad_v2", no_answer_threshold=0.5)
    assert metric.compute(predictions=answers, references=[question("1")])["exact"] == 100.0


def test_multilabel_configurations():
    examples = {"predictions": [[1, 0, 1], [0, 1, 0]], "references": [[1, 0, 1], [0, 1, 1]]}
    assert load_metric("accuracy", config_name="multilabel").compute(**examples) == {"accuracy": 0.5}
    metric = load_metric("f1", config_name="multilabel", average="samples")
    assert metric.compute(**examples) == {"f1": pytest.approx(5 / 6)}


def test_answers_are_matched_by_id():
    metric = load_metric("squad")
    assert metric.compute(predictions=ANSWERS[::-1], references=QUESTIONS)["exact_match"] == 50.0
    # a bootstrap draws questions more than once
    twice = metric.compute(predictions=[*ANSWERS, ANSWERS[0]], references=[*QUESTIONS, QUESTIONS[0]])
    assert twice["exact_match"] == pytest.approx(200 / 3)
    with pytest.raises(ValueError, match="same ids, got '1' on one side only"):
        metric.compute(predictions=ANSWERS[:1], references=QUESTIONS[1:])
    with pytest.raises(ValueError, match="one answer for each id, got two for '1'"):
        metric.compute(predictions=[ANSWERS[0], {**ANSWERS[1], "id": "1"}], references=QUESTIONS)


@needs_sacrebleu
@pytest.mark.parametrize(
    ("name", "class_name", "options"),
    [
        ("sacrebleu", "BLEU", {}),
        ("sacrebleu", "BLEU", {"tokenize": "zh", "lowercase": True, "smooth_method": "floor"}),
        ("chrf", "CHRF", {}),
        ("chrf", "CHRF", {"word_order": 2, "beta": 3}),
    ],
)
def test_text_scores_are_those_of_sacrebleu(name, class_name, options):
    import sacrebleu.metrics

    predictions = ["The cat sat on the mat.", "", "我很喜欢这本书，故事好看。"]
    references = [
        ["The cat is on the mat.", "A cat sat on the mat."],
        ["Something."],
        ["我很喜欢这本书，故事非常好看。"],
    ]
    streams = [[texts[0] for texts in references], [references[0][1], None, None]]
    expected = getattr(sacrebleu.metrics, class_name)(**options).corpus_score(predictions, streams).score
    assert 0 < expected < 100
    scores = load_metric(name, **options).compute(predictions=predictions, references=references)
    assert scores["score"] == expected
    one_each = [texts[0] for texts in references]
    expected = getattr(sacrebleu.metrics, class_name)(**options).corpus_score(predictions, [one_each]).score
    assert load_metric(name, **options).compute(predictions=predictions, references=one_each)["score"] == expected


def test_missing_sacrebleu_is_told_at_loading(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(ImportError, match=r"pip install 'electra-plus\[metrics\]'"):
        load_metric("chrf")


def test_combined_metrics():
    metrics = evaluate.combine([load_metric("accuracy"), load_metric("f1", average="macro")])
    metrics.add_batch(predictions=[0, 2], references=[0, 1])
    metrics.add(prediction=2, reference=2)
    assert metrics.compute() == pytest.approx({"accuracy": 2 / 3, "f1": 5 / 9})


def test_evaluator_of_text_classification(tmp_path, tokenizer):
    ElectraPlusForSequenceClassification(small_config(num_labels=3)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    data = Dataset.from_dict({"text": ["the cat", "I love this book", "a dog"], "label": [0, 1, 2]})
    scores = evaluate.evaluator("text-classification").compute(
        str(tmp_path),
        data,
        metric=load_metric("f1", average="macro"),
        label_mapping={"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2},
        strategy="bootstrap",
        n_resamples=9,
    )
    assert 0 <= scores["f1"]["score"] <= 1
    assert "confidence_interval" in scores["f1"]


def test_evaluator_of_token_classification(tmp_path, tokenizer):
    names = ["O", "B-A", "I-A"]
    model = ElectraPlusForTokenClassification(small_config(num_labels=3, id2label=dict(enumerate(names))))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))})
    data = Dataset.from_dict({"tokens": [["the", "cat"], ["dog"]], "ner_tags": [[0, 1], [1]]}, features=features)
    scores = evaluate.evaluator("token-classification").compute(str(tmp_path), data, metric=load_metric("seqeval"))
    assert scores["A"]["number"] == 2


@pytest.mark.parametrize(
    ("name", "predictions", "references", "message"),
    [
        ("accuracy", [], [], "at least one example"),
        ("accuracy", [0.7], [1], "got 0.7. Take the argmax"),
        ("accuracy", [float("nan")], [1], "got nan. Take the argmax"),
        ("accuracy", ["POSITIVE"], [1], r"got \['POSITIVE'\] and \[1\]: could not convert"),
        ("f1", [0, 1], [0], r"Mismatch in the number of predictions \(2\) and references \(1\)"),
        ("seqeval", [[1]], [[2]], "List"),
        ("squad", [{"id": "1", "text": "a"}], [question("1", "a")], "prediction_text"),
        ("squad", ANSWERS[:1], [{"id": "1", "answers": [{"text": "a", "answer_start": 0}]}], "answer_start"),
        ("squad_v2", ANSWERS, QUESTIONS, ": 'no_answer_probability'$"),
        ("replaced_token_detection", [[1.0]], [[1, 0]], "got 1 and 2 in row 0"),
    ],
)
def test_wrong_examples_are_one_line_errors(name, predictions, references, message):
    with pytest.raises(ValueError, match=message) as error:
        load_metric(name).compute(predictions=predictions, references=references)
    assert "\n" not in str(error.value)


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="`name` must be one of accuracy, f1, .* got 'bleu'"):
        load_metric("bleu")
    with pytest.raises(ValueError, match="`averge` is no option of the metric F1. It has average, pos_label"):
        load_metric("f1", averge="macro")
    with pytest.raises(ValueError, match="`average` is no option of the metric Accuracy. It has none"):
        load_metric("accuracy").compute(predictions=[1], references=[1], average="macro")
    with pytest.raises(ValueError, match="`config_name` must be one of .* got 'multi'"):
        load_metric("f1", config_name="multi")
    with pytest.raises(ValueError, match=r"`num_process` \(2\) needs an `experiment_id`"):
        load_metric("f1", num_process=2)
    with pytest.raises(ValueError, match="call `add_batch` first"):
        load_metric("f1").compute()
    with pytest.raises(ValueError, match="`mode` must be None or 'strict', got 'IOB2'"):
        load_metric("seqeval", mode="IOB2").compute(predictions=[["O"]], references=[["O"]])
    with pytest.raises(ValueError, match="at least one text for each prediction"):
        pytest.importorskip("sacrebleu")
        load_metric("chrf").compute(predictions=["a", "b"], references=[["a"], []])


def _add_and_compute(process_id: int, folder: str, queue) -> None:
    metric = load_metric("accuracy", experiment_id="run", num_process=2, process_id=process_id, cache_dir=folder)
    metric.add_batch(predictions=[1, 1], references=[1, process_id])
    queue.put(metric.compute())


@pytest.mark.multiprocess
def test_processes_put_their_examples_together(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_add_and_compute, args=(number, str(tmp_path), queue)) for number in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert {"accuracy": 0.75} in results and None in results  # the first process scores for all
    assert not list(tmp_path.rglob("*.arrow"))
