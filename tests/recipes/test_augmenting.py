"""Changed copies of the training rows, as a setting of `finetune` asks for them."""

import json
import logging

import pytest
import torch
from model_helpers import joint_config

from electra_plus import ElectraPlusForPreTraining
from electra_plus.data.example_files import Row
from electra_plus.recipes.augmenting import make_augmentation, read_synonyms
from electra_plus.recipes.finetuning import FineTuningSettings, finetune


def examples() -> list[Row]:
    texts = (("the cat sat on the mat", "good"), ("the dog was sleeping", "bad"))
    return [Row({"text": text, "label": label}, f"`a.csv` line {line}") for line, (text, label) in enumerate(texts, 2)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer) -> str:
    folder = tmp_path_factory.mktemp("pretrained") / "joint"
    torch.manual_seed(0)
    ElectraPlusForPreTraining(joint_config("modern")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_copies_come_behind_the_rows_and_keep_their_labels():
    found = make_augmentation({"how": "swap", "copies": 2, "rate": 0.3})(examples())
    assert found[:2] == examples() and 3 <= len(found) - 2 <= 4
    assert all(sorted(row["text"].split()) in (sorted(e["text"].split()) for e in examples()) for row in found)
    assert {row["label"] for row in found[2:]} == {"good", "bad"} and found[2].where == "a changed copy"


def test_words_come_from_a_list_or_from_the_generator_of_a_joint_checkpoint(checkpoint, tmp_path):
    file = tmp_path / "words.json"
    file.write_text('{"Cat": ["kitten"], "dog": ["hound"]}', encoding="utf-8")
    found = make_augmentation({"how": "synonyms", "synonyms": str(file)})(examples())
    assert [row["text"] for row in found[2:]] == ["the kitten sat on the mat", "the hound was sleeping"]
    (first, *_) = make_augmentation({"how": "masked-lm", "model": checkpoint})(examples())[2:]
    assert len(first["text"].split()) == 6 and first["text"] != examples()[0]["text"]


def test_finetune_trains_on_the_copies_alone_besides_the_rows(checkpoint, tmp_path, caplog):
    rows = [{"text": f"{word} {number}", "label": word} for number in range(10) for word in ("good", "bad")]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    training = {"max_steps": 1, "eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    where = (checkpoint, str(tmp_path / "train.jsonl"), str(tmp_path / "out"))
    with caplog.at_level(logging.WARNING):
        figures = finetune(FineTuningSettings(*where, training=training, augment={"how": "swap", "copies": 3}))
    assert "augmentation: 18 changed copies" in caplog.text  # a swap of two words makes one
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 2, (
        "validation rows stay as they are"
    )
    assert figures["task"] == "text-classification"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"copies": 2}, "`augment` must have `how`"),
        ({"how": "swap", "rates": 2}, "`augment` must have `how`, and else of"),
        ({"how": "shuffle"}, r"`how` as one of \['delete', 'swap', 'synonyms', 'masked-lm'\], got 'shuffle'"),
        ({"how": "synonyms"}, "must have `synonyms` with `how: synonyms`"),
        ({"how": "swap", "model": "x"}, "must have `model` with `how: masked-lm` and with no other, got `how: swap`"),
    ],
)
def test_wrong_settings_are_told(given, message):
    with pytest.raises(ValueError, match=message):
        make_augmentation(given)


def test_tasks_of_other_rows_and_files_of_other_things_are_told(tmp_path):
    with pytest.raises(ValueError, match="`augment` is for tasks of whole texts, got the fields"):
        make_augmentation({"how": "swap"})([Row({"tokens": ["a"], "tags": ["O"]}, "")])
    for text, message in (("[]", "must hold a list of words for each word"), ("{", "is no json")):
        (tmp_path / "words.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_synonyms(str(tmp_path / "words.json"))
