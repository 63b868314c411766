"""Changed copies of the training rows and mixed sentence vectors, as a setting of `finetune` asks for them."""

import json
import logging

import pytest
import torch
from model_helpers import joint_config

from electra_plus import ElectraPlusForPreTraining, ElectraPlusForReplacedTokenDetection
from electra_plus.data.example_files import Row
from electra_plus.recipes.augmenting import make_augmentation, read_synonyms
from electra_plus.recipes.finetuning import FineTuningSettings, finetune
from electra_plus.recipes.tasks import TASKS
from electra_plus.training.mixup import SentenceMixup


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
    found, remark = make_augmentation({"how": "swap", "copies": 2, "rate": 0.3})(examples())
    assert remark == f"{len(found) - 2} changed copies"
    assert found[:2] == examples() and 3 <= len(found) - 2 <= 4
    assert all(sorted(row["text"].split()) in (sorted(e["text"].split()) for e in examples()) for row in found)
    assert {row["label"] for row in found[2:]} == {"good", "bad"} and found[2].where == "a changed copy"


def texts_of_copies(**given) -> list[str]:
    found, _ = make_augmentation(given)(examples())
    return [row["text"] for row in found[2:]]


def write_list(file, words: dict) -> str:
    file.write_text(json.dumps(words), encoding="utf-8")
    return str(file)


def test_words_come_from_a_list_or_from_the_generator_of_a_joint_checkpoint(checkpoint, tmp_path):
    file = write_list(tmp_path / "words.json", {"Cat": ["kitten"], "dog": ["hound"]})
    assert texts_of_copies(how="synonyms", synonyms=file) == ["the kitten sat on the mat", "the hound was sleeping"]
    first, _ = texts_of_copies(how="masked-lm", model=checkpoint)
    assert len(first.split()) == 6 and first != examples()[0]["text"]


def test_lists_are_asked_in_their_order(tmp_path):
    own = write_list(tmp_path / "own.json", {"cat": ["kitten"], "dog": []})
    general = write_list(tmp_path / "general.json", {"cat": ["beast"], "dog": ["hound"]})
    found = texts_of_copies(how="synonyms", synonyms=[own, general])
    assert found == ["the kitten sat on the mat", "the hound was sleeping"]


def test_a_masked_lm_draws_for_words_that_no_list_knows(checkpoint, tmp_path):
    file = write_list(tmp_path / "words.json", {"cat": ["kitten"], "sat": ["stood"]})
    found = texts_of_copies(how="synonyms", synonyms=file, model=checkpoint, rate=0.99)
    words = found[0].split()
    assert words[1:3] == ["kitten", "stood"] and "the" not in (words[0], words[4])
    assert len(found) == 2 and not found[1].startswith("the")


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


@pytest.fixture(scope="module")
def classifier(checkpoint, tmp_path_factory) -> str:
    """Knows good from bad, whatever else stands there."""
    folder = tmp_path_factory.mktemp("classifier")
    rows = [
        {"text": f"{word} {other}", "label": word} for word in ("good", "bad") for other in ("cat", "dog", "mat") * 4
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    where = {"model": checkpoint, "train_file": str(folder / "train.jsonl"), "output_dir": str(folder / "out")}
    training = {"max_steps": 25, "learning_rate": 5e-3, "eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True,
                "use_cpu": True, "layerwise_lr_decay": 1.0}  # fmt: skip
    assert finetune(FineTuningSettings(**where, training=training))["validation"]["accuracy"]["mean"] == 1.0
    return where["output_dir"]


def test_copies_with_another_label_are_left_out_and_counted(classifier, tmp_path):
    rows = [Row({"text": text, "label": text.split()[0]}, "") for text in ("good cat", "bad dog")]
    words = {"good": ["bad"], "bad": ["good"], "cat": ["mat"], "dog": ["mat"]}  # antonyms, as embeddings have them near
    given = {"how": "synonyms", "synonyms": write_list(tmp_path / "words.json", words), "copies": 6}
    every, remark = make_augmentation(given)(rows)
    turned = [row for row in every if row["label"] not in row["text"]]
    assert turned and remark == f"{len(every) - 2} changed copies"
    kept, remark = make_augmentation({**given, "keep_sure": 0.5, "classifier": classifier})(rows)
    assert kept == [row for row in every if row["label"] in row["text"]] and len(kept) > 2
    assert remark == (
        f"{len(kept) - 2} changed copies; {len(turned)} left out, to whose label {classifier} gives less than 0.5"
    )


def test_a_model_that_fills_no_masks_is_told(checkpoint, classifier, tmp_path, tokenizer):
    with pytest.raises(ValueError, match="holds the class ElectraPlusForSequenceClassification, which neither"):
        texts_of_copies(how="masked-lm", model=classifier)
    ElectraPlusForReplacedTokenDetection.from_pretrained(checkpoint).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="predicts no masked tokens. Give a masked LM or a joint checkpoint"):
        texts_of_copies(how="masked-lm", model=str(tmp_path))


def test_a_classifier_that_cannot_judge_the_rows_is_told(classifier, checkpoint):
    def augment(folder: str, label: str = "good"):
        rows = [Row({"text": "the cat sat", "label": label}, "")]
        make_augmentation({"how": "swap", "keep_sure": 0.5, "classifier": folder})(rows)

    with pytest.raises(OSError, match="`classifier /nowhere` is no checkpoint"):
        augment("/nowhere")
    with pytest.raises(ValueError, match=r"knows the labels \['bad', 'good'\], and the rows have \['fine'\]"):
        augment(classifier, "fine")
    with pytest.raises(ValueError, match="was not fine-tuned|is no fine-tuned"):
        augment(checkpoint)


@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification", "regression"])
def test_mixup_trains_every_task_on_sentence_vectors_besides_copies(task, checkpoint, tmp_path, caplog, monkeypatch):
    label = {"text-classification": ("label", "a", "b"), "regression": ("score", 1.5, 4.0)}.get(
        task, ("labels", ["a"], ["a", "b"])
    )
    rows = [{"text": f"{word} {pet} sat", label[0]: value} for word, value in zip(("good", "bad"), label[1:], strict=True)
            for pet in ("cat", "dog", "mat", "river") * 2]  # fmt: skip
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    training = {"max_steps": 2, "eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True,
                "per_device_train_batch_size": 4, "bf16": task == "regression"}  # fmt: skip
    drawn = []
    draw = SentenceMixup.draw
    monkeypatch.setattr(SentenceMixup, "draw", lambda self, number: drawn.append(self) or draw(self, number))
    where = (checkpoint, str(tmp_path / "train.jsonl"), str(tmp_path / "out"))
    more = {"class_weights": [1, 3]} if task == "text-classification" else {}
    augment = {"how": "swap", "mixup": 0.7, "seed": 5}
    with caplog.at_level(logging.WARNING):
        assert finetune(FineTuningSettings(*where, training=training, augment=augment, **more))["task"] == task
    assert "changed copies; sentence vectors are mixed (alpha 0.7)" in caplog.text
    assert len(drawn) == 2, "once a step, and never in the evaluation"
    assert (drawn[0].alpha, drawn[0].seed) == (0.7, 5)
    assert (drawn[0].class_weights is not None) == bool(more)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 2}, r"`augment` must have `how` as one of \['delete', .*\], or `mixup`, got neither"),
        ({"mixup": 0.4, "copies": 2}, r"`augment` has \['copies'\] without `how`"),
        ({"how": "swap", "rates": 2}, r"`augment` must have names of .*, got \['rates'\]"),
        ({"how": "shuffle"}, r"`how` as one of \['delete', 'swap', 'synonyms', 'masked-lm'\], got 'shuffle'"),
        ({"how": "mixup"}, "got 'mixup'. Mixup is `mixup: 0.4`"),
        ({"mixup": 0}, "`mixup` must be > 0, got 0"),
        (
            {"how": "synonyms"},
            "must have `synonyms` with `how: synonyms` and with no other, got `how: synonyms` without",
        ),
        ({"how": "swap", "model": "x"}, "must have `model` with `how: masked-lm or synonyms`.* got `how: swap`"),
        ({"how": "swap", "keep_sure": 0.5}, "must have `keep_sure` and `classifier` or neither, got no `classifier`"),
        ({"how": "swap", "classifier": "x"}, "got no `keep_sure`"),
        (
            {"how": "swap", "keep_sure": 2, "classifier": "x"},
            r"`keep_sure` must be in \[0, 1\] and go with `how`, got 2",
        ),
        ({"mixup": 1, "keep_sure": 0.5, "classifier": "x"}, "go with `how`, got 0.5 with `how: None`"),
    ],
)
def test_wrong_settings_are_told(given, message):
    with pytest.raises(ValueError, match=message):
        make_augmentation(given)


def test_tasks_that_it_is_not_for_are_told():
    mixup, sure = (
        make_augmentation({"mixup": 0.4}),
        make_augmentation({"how": "swap", "keep_sure": 0, "classifier": "x"}),
    )
    for name in ("token-classification", "multiple-choice", "text-generation"):
        with pytest.raises(ValueError, match=f"`mixup` mixes sentence vectors, for text-classification, .* got {name}"):
            mixup.check(TASKS[name]())
    with pytest.raises(ValueError, match="`keep_sure` is for text-classification, got regression"):
        sure.check(TASKS["regression"]())
    mixup.check(TASKS["regression"]())
    sure.check(TASKS["text-classification"]())


def test_tasks_of_other_rows_and_files_of_other_things_are_told(tmp_path):
    with pytest.raises(ValueError, match="`augment` is for tasks of whole texts, got the fields"):
        make_augmentation({"how": "swap"})([Row({"tokens": ["a"], "tags": ["O"]}, "")])
    for text, message in (("[]", "must hold a list of words for each word"), ("{", "is no json")):
        (tmp_path / "words.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_synonyms(str(tmp_path / "words.json"))
