"""`Trainer.push_to_hub`, ours and the stock one, and `model.push_to_hub`: repositories that anyone opens, with a card and without a token."""

import json

import huggingface_hub
import pytest
import torch
import transformers
from local_hub import TOKEN
from pipeline_helpers import build, small_tokenizer

import electra_plus
from electra_plus.hub import Dataset, ModelCardCallback, TrainingRecord
from electra_plus.registration import auto_map_for

ROWS = [{"input_ids": [2, 7, 9, 11, 3], "labels": 1}, {"input_ids": [2, 8, 9, 10, 3], "labels": 0}] * 4


def arguments(folder, kind=transformers.TrainingArguments, **more):
    return kind(
        str(folder),
        **{"max_steps": 2, "report_to": "none", "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", **more},
    )


def trainer(folder, kind="ours", **more):
    model = build("SequenceClassification")
    shared = {"train_dataset": ROWS, "eval_dataset": ROWS, "processing_class": small_tokenizer()}
    collate = transformers.DataCollatorWithPadding(small_tokenizer())
    if kind == "ours":
        args = arguments(folder, electra_plus.ElectraPlusTrainingArguments, **more)
        return electra_plus.ElectraPlusTrainer(model, args, data_collator=collate, **shared)
    stock = transformers.Trainer(model, arguments(folder, **more), data_collator=collate, **shared)
    callback = ModelCardCallback(
        [Dataset("me/reviews", rows=8)], license="mit", task="text-classification", trainer=stock
    )
    stock.add_callback(callback)
    return stock


def anyone_opens(hub, repo: str) -> None:
    """The repository names all classes, and holds their files."""
    files = hub.files(repo)
    config = json.loads(files["config.json"])
    assert config["auto_map"] == auto_map_for("ElectraPlusForSequenceClassification")
    assert {f"{place.split('.')[0]}.py" for place in config["auto_map"].values()} <= files.keys()
    # `Trainer` itself uploads its arguments with each checkpoint
    assert not any(name.endswith((".bin", ".pt")) and name != "training_args.bin" for name in files)
    assert not any(TOKEN.encode() in content for content in files.values())


@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_a_trainer_pushes_what_anyone_opens_with_a_card_of_its_training(kind, hub, tmp_path):
    trains = trainer(tmp_path / "run", kind, hub_model_id="me/it")
    trains.train()
    trains.evaluate()
    trains.push_to_hub(license="apache-2.0", dataset="me/reviews") if kind == "ours" else trains.push_to_hub()
    anyone_opens(hub, "me/it")
    assert kind == "stock" or "training_args.bin" not in hub.files("me/it")
    card = huggingface_hub.ModelCard(hub.files("me/it")["README.md"].decode())
    assert card.data.license == ("apache-2.0" if kind == "ours" else "mit") and card.data.datasets == ["me/reviews"]
    assert [one.metric_type for one in card.data.eval_results] == ["loss"]
    assert "| optimizer steps | 2 |" in card.text and "kWh" in card.text and 'model="me/it"' in card.text
    again = transformers.AutoModelForSequenceClassification.from_pretrained("me/it")
    assert torch.equal(again.classifier.out_proj.weight, trains.model.classifier.out_proj.weight)


def test_every_checkpoint_that_is_pushed_opens(hub, tmp_path):
    trains = trainer(
        tmp_path / "run",
        push_to_hub=True,
        hub_model_id="me/it",
        hub_strategy="every_save",
        save_strategy="steps",
        save_steps=1,
    )
    trains.train()
    trains._finish_current_push()
    anyone_opens(hub, "me/it")
    assert electra_plus.training.checkpoints.last_good_checkpoint(tmp_path / "run").name == "checkpoint-2"


def test_a_token_among_the_arguments_is_saved_nowhere(hub, tmp_path):
    trains = trainer(
        tmp_path / "run", push_to_hub=True, hub_model_id="me/it", hub_token=TOKEN, save_strategy="steps", save_steps=1
    )
    trains.train()
    trains.push_to_hub()
    assert trains.args.hub_token == TOKEN
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file
    anyone_opens(hub, "me/it")


@pytest.mark.parametrize("how", ["push_to_hub", "save_pretrained"])
def test_a_model_pushes_its_code_by_itself(how, hub, tmp_path):
    model = build("SequenceClassification")
    if how == "push_to_hub":
        model.push_to_hub("me/it")
    else:
        model.save_pretrained(tmp_path / "it", push_to_hub=True, repo_id="me/it")
    anyone_opens(hub, "me/it")
    assert "electra_plus.pipeline" in hub.files("me/it")["README.md"].decode(), "not transformers' empty draft"


def test_a_card_on_the_hub_stays_when_a_model_is_pushed_again(hub):
    model = build("SequenceClassification")
    model.push_to_hub("me/it")
    hub.repositories["me/it"].commit("main", {"README.md": b"---\nlicense: mit\n---\n# Mine\n"})
    model.push_to_hub("me/it")
    assert b"# Mine" in hub.files("me/it")["README.md"]


def test_time_of_a_run_that_was_interrupted_is_that_of_its_parts(tmp_path):
    first = trainer(tmp_path / "run", save_strategy="steps", save_steps=1)
    first.train()
    seconds = TrainingRecord.read(tmp_path / "run").seconds
    assert seconds > 0
    record = TrainingRecord.read(tmp_path / "run")
    record.seconds = 1000.0
    record.write(tmp_path / "run")
    again = trainer(tmp_path / "run", save_strategy="steps", save_steps=1, max_steps=3)
    again.train(resume_from_checkpoint=True)
    assert TrainingRecord.read(tmp_path / "run").seconds > 1000 and again.card.record.num_steps == 3
    anew = trainer(tmp_path / "run")
    anew.train()
    assert TrainingRecord.read(tmp_path / "run").seconds < 1000
