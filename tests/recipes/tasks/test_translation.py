"""Translation: pairs as rows, a decoder that starts from the encoder's weights, and translations of texts of any length."""

import json
from pathlib import Path

import pytest
import torch
from model_helpers import small_config
from transformers import AutoModelForSeq2SeqLM

from electra_plus import ElectraPlusForReplacedTokenDetection
from electra_plus.recipes.finetuning import FineTuningSettings, finetune
from electra_plus.recipes.prediction import evaluate_task, predict
from electra_plus.recipes.tasks.translation import Translation

pytestmark = pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")
every_flavour = pytest.mark.parametrize("checkpoint", ["classic", "modern"], indirect=True)
PAIRS = [("a cat", "我"), ("the mat", "在"), ("the cat", "北"), ("a mat", "京")]


@pytest.fixture
def checkpoint(request, words, tmp_path) -> str:
    torch.manual_seed(0)
    config = small_config(request.param, vocab_size=len(words), initializer_range=0.3)
    ElectraPlusForReplacedTokenDetection(config).save_pretrained(tmp_path / "detector")
    words.save_pretrained(tmp_path / "detector")
    return str(tmp_path / "detector")


def test_the_decoder_predicts_all_but_the_token_that_it_starts_from(words, examples):
    rows = examples({"source": "a cat sat on the mat", "target": "我"}, {"source": "a", "target": "我在"})
    task = Translation(max_length=5)
    encoded = task.encode(rows, words)
    assert encoded.rows == [
        {"input_ids": [2, 5, 6, 7, 3], "labels": [14, 3]},
        {"input_ids": [2, 5, 3], "labels": [14, 15, 3]},
    ]
    assert encoded.remarks == ["1 of 2 pairs are cut to 5 tokens"]
    batch = task.pad(encoded.rows, pad_token_id=0)
    assert batch["input_ids"].tolist() == [[2, 5, 6, 7, 3], [2, 5, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[14, 3, -100], [14, 15, 3]]
    assert task.encode(rows, words, with_targets=False).rows[1] == {"input_ids": [2, 5, 3]}


@every_flavour
def test_both_halves_start_from_the_checkpoint(checkpoint, words):
    model, new = Translation().load(checkpoint, words, {})
    detector = ElectraPlusForReplacedTokenDetection.from_pretrained(checkpoint)
    for half in (model.encoder, model.decoder.electra):
        for name, weight in detector.electra.state_dict().items():
            assert torch.equal(half.state_dict()[name], weight), name
    assert new and all(name.startswith(Translation.head) for name in new)
    config = model.generation_config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (2, 3, 0)


@every_flavour
def test_a_checkpoint_of_the_stock_trainer_writes_with_a_cache(checkpoint, words):
    file = Path(checkpoint, "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "use_cache": False}))
    model, _ = Translation().load(checkpoint, words, {})
    widths = []
    model.decoder.register_forward_pre_hook(
        lambda _, given, named: widths.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    model.generate(torch.tensor([[2, 5, 6, 3]]), max_new_tokens=4, min_new_tokens=4, num_beams=1)
    assert widths == [1, 1, 1, 1]


@pytest.mark.parametrize("checkpoint", ["modern"], indirect=True)
def test_a_model_learns_pairs_and_translates_them_from_its_folder(checkpoint, tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"en": en, "zh": zh}) + "\n" for en, zh in PAIRS * 4), encoding="utf-8")
    training = {
        "num_train_epochs": 30,
        "per_device_train_batch_size": 4,
        "learning_rate": 3e-3,
        "eval_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    figures = finetune(
        FineTuningSettings(
            checkpoint,
            str(file),
            str(tmp_path / "out"),
            validation_file=str(file),
            options={"num_beams": 2},
            training=training,
            dtype="float32",
        )  # fmt: skip
    )
    assert figures["task"] == "translation" and figures["metric"] == "bleu"
    assert figures["validation"]["chrf"]["mean"] == 100
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").generation_config.num_beams == 2
    found = predict(str(tmp_path / "out"), texts=[json.dumps({"source": en}) for en, _ in PAIRS], show_progress=False)
    plain = predict(str(tmp_path / "out"), texts=[en for en, _ in PAIRS], show_progress=False)
    assert [one["prediction"] for one in plain] == [one["prediction"] for one in found]
    assert [row["prediction"] for row in found] == [zh for _, zh in PAIRS]
    scores = evaluate_task(str(tmp_path / "out"), str(file), show_progress=False)["figures"]
    assert scores["chrf"] == 100 and scores["loss"] < 0.5


def test_chinese_is_scored_by_its_characters(examples):
    rows = examples({"source": "a", "target": "我在北京的猫"}, {"source": "b", "target": "我在北京"})
    predictions = [{"prediction": "我在北京的狗"}, {"prediction": "我在北京"}]
    assert Translation().judge(predictions, rows)["bleu"] > 70  # as words of a language with spaces it would be 0


def test_wrong_beams_are_told():
    with pytest.raises(ValueError, match="`num_beams` must be at least 1, got 0"):
        Translation(num_beams=0)
