"""Predictions in the order of the rows, of our models and of stock ones; scores of fine-tuned models."""

import json

import pytest
import torch
import transformers
from model_helpers import joint_config, small_config

from electra_plus import ElectraPlusForPreTraining, ElectraPlusForSequenceClassification
from electra_plus.recipes.prediction import evaluate_task, load_predictor, predict

LABELS = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
TEXTS = ["I really love this book", "terrible", "我很喜欢这本书，故事非常好看。", "the cat sat on the mat " * 3, "a"]


@pytest.fixture
def classifier(tmp_path, tokenizer) -> str:
    model = ElectraPlusForSequenceClassification(small_config("modern", **LABELS))
    model.save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    return str(tmp_path / "classifier")


def write(file, *rows: dict) -> str:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def test_predictions_come_in_the_rows_order_with_their_fields(classifier, tmp_path, tokenizer):
    rows = [{"number": number, "review": text} for number, text in enumerate(TEXTS * 30)]
    output = tmp_path / "new" / "predictions.jsonl"
    found = predict(
        classifier, write(tmp_path / "a.jsonl", *rows), output=str(output), dtype="float32", show_progress=False
    )
    assert [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()] == found
    assert [{"number": one["number"], "review": one["review"]} for one in found] == rows
    model = transformers.AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    for one in found[:5]:
        with torch.no_grad():
            chances = model(**tokenizer(one["review"], return_tensors="pt")).logits.softmax(dim=-1)[0]
        assert one["probabilities"] == {
            "bad": pytest.approx(chances[0].item(), abs=1e-4),
            "good": pytest.approx(chances[1].item(), abs=1e-4),
        }
        assert one["prediction"] == ("good" if chances[1] > chances[0] else "bad")


def test_texts_and_rows_in_json_are_predicted(classifier):
    found = predict(classifier, texts=["I loved it", "我很喜欢这本书", '{"text": "a", "place": 3}', "{curly}"])
    assert [one["text"] for one in found] == ["I loved it", "我很喜欢这本书", "a", "{curly}"]
    assert found[2]["place"] == 3


@pytest.mark.parametrize("kind", ["Electra", "Bert"])
def test_stock_folders_are_predicted_and_scored(kind, tmp_path, tokenizer):
    sizes = {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    for head, labels in (("SequenceClassification", {}), ("TokenClassification", {}), ("QuestionAnswering", {})):
        config = getattr(transformers, f"{kind}Config")(**sizes, **labels)
        getattr(transformers, f"{kind}For{head}")(config).save_pretrained(tmp_path / head)
        tokenizer.save_pretrained(tmp_path / head)
    found = predict(str(tmp_path / "SequenceClassification"), texts=TEXTS)
    assert {one["prediction"] for one in found} <= {"0", "1"}
    figures = evaluate_task(
        str(tmp_path / "SequenceClassification"), write(tmp_path / "a.jsonl", *({"text": text, "label": 1} for text in TEXTS)),
        output=str(tmp_path / "figures.json"), show_progress=False,
    )  # fmt: skip
    assert json.loads((tmp_path / "figures.json").read_text()) == figures and 0 <= figures["figures"]["accuracy"] <= 1
    assert len(predict(str(tmp_path / "TokenClassification"), texts=["the cat sat"])[0]["prediction"]) == 3
    row = {"question": "who?", "context": "the cat sat", "answers": {"text": ["cat"], "answer_start": [4]}}
    answer = predict(str(tmp_path / "QuestionAnswering"), texts=[json.dumps(row)])[0]
    assert answer["prediction"] == "the cat sat"[answer["start"] : answer["end"]] != ""
    figures = evaluate_task(str(tmp_path / "QuestionAnswering"), write(tmp_path / "b.jsonl", row), show_progress=False)
    assert set(figures["figures"]) == {"exact_match", "f1", "loss"}


def test_options_of_the_fine_tuning_are_kept_and_may_be_replaced(classifier, tmp_path):
    assert load_predictor(classifier).task.max_length == 64  # the tokenizer's
    (tmp_path / "classifier" / "metrics.json").write_text(
        json.dumps({"task": "text-classification", "options": {"max_length": 16}})
    )
    assert load_predictor(classifier).task.max_length == 16
    assert load_predictor(classifier, {"max_length": 32}).task.max_length == 32
    (tmp_path / "classifier" / "metrics.json").write_text("[")
    assert load_predictor(classifier).task.max_length == 64


def test_label_that_the_model_does_not_know_is_told_with_its_row(classifier, tmp_path):
    file = write(tmp_path / "a.jsonl", {"text": "a", "label": "good"}, {"text": "b", "label": "fine"})
    with pytest.raises(ValueError, match=r"a.jsonl` line 2: `label` is 'fine'.*\['bad', 'good'\]"):
        evaluate_task(classifier, file, show_progress=False)


def test_models_and_arguments_that_cannot_work_are_told(classifier, tmp_path, tokenizer):
    ElectraPlusForPreTraining(joint_config()).save_pretrained(tmp_path / "joint")
    tokenizer.save_pretrained(tmp_path / "joint")
    with pytest.raises(ValueError, match="holds the class ElectraPlusForPreTraining, which was not fine-tuned"):
        predict(str(tmp_path / "joint"), texts=["a"])
    with pytest.raises(ValueError, match="`--input` or `--text` must be given, got neither"):
        predict(classifier)
    with pytest.raises(ValueError, match="`--input` or `--text` must be given, got both"):
        predict(classifier, "a.csv", texts=["a"])
    with pytest.raises(ValueError, match="`--output` must be a file, got the folder"):
        predict(classifier, texts=["a"], output=str(tmp_path))
    with pytest.raises(ValueError, match="`stride` is no option of text-classification"):
        predict(classifier, texts=["a"], options={"stride": 2})
    with pytest.raises(ValueError, match="`dtype` must be bfloat16 or float32"):
        predict(classifier, texts=["a"], dtype="float16")
    with pytest.raises(ValueError, match="No column for `text`"):
        predict(classifier, write(tmp_path / "a.jsonl", {"words": "a"}), show_progress=False)
    model = ElectraPlusForSequenceClassification(small_config("modern", **LABELS))
    kept = {name: value for name, value in model.state_dict().items() if "classifier" not in name}
    model.save_pretrained(classifier, state_dict=kept)
    with pytest.raises(ValueError, match="lacks weights, such as 'classifier.dense.bias': its answers would be random"):
        predict(classifier, texts=["a"])
