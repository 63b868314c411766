"""Cards and the records behind them: valid heads, true figures, nobody's folders, and what somebody wrote stays."""

import json
import math

import huggingface_hub
import pytest
import yaml
from pipeline_helpers import build, small_tokenizer

import electra_plus
from electra_plus.hub import Dataset, Score, TrainingRecord
from electra_plus.hub.callback import write_card
from electra_plus.hub.hardware import CORE_WATTS, describe_machine
from electra_plus.hub.model_card import MARK, ModelFacts, render_card
from electra_plus.hub.records import RECORD_FILE, of_arguments, public_name

RECORD = TrainingRecord(
    task="text-classification",
    base_model="google/electra-small-discriminator",
    datasets=[Dataset("stanfordnlp/sst2", "train", 600, "unknown"), Dataset("mine", "test", 100)],
    scores=[Score("stanfordnlp/sst2", "validation", "accuracy", 0.78125, 0.021, 3), Score("mine", "test", "f1", 0.5)],
    hyperparameters={"learning_rate": 3e-4, "batch size": 32},
    num_steps=57,
    seconds=4200.0,
    machine={"processor": "A processor", "threads": 2, "watts": 16, "versions": {"torch": "2.13.0"}},
    license="apache-2.0",
    language=["en", "zh"],
)
FACTS = ModelFacts("ElectraPlusForSequenceClassification", 14_000_000, {"layers": 12}, ["bad", "good"], has_code=True)


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_head_is_what_the_hub_reads():
    card = huggingface_hub.ModelCard(render_card(RECORD, FACTS, "me/it"))
    data = card.data
    assert (data.license, data.language, data.pipeline_tag) == ("apache-2.0", ["en", "zh"], "text-classification")
    assert data.base_model == "google/electra-small-discriminator" and data.datasets == ["stanfordnlp/sst2"]
    found = {(one.dataset_name, one.dataset_split, one.metric_type): one.metric_value for one in data.eval_results}
    assert found == {("stanfordnlp/sst2", "validation", "accuracy"): 0.7812, ("mine", "test", "f1"): 0.5}
    assert head(card.content)["model-index"][0]["name"] == "it"


def test_text_says_data_settings_time_and_energy():
    card = render_card(RECORD, FACTS, "me/it")
    for words in ("14,000,000 parameters", "0.7812 ± 0.0210 | 3", "| learning_rate | 0.0003 |", "| optimizer steps | 57 |", "| time | 70 min |",
                  "A processor, 2 threads", "0.019 kWh (16 W", 'model="me/it"', "trust_remote_code=True", "Labels: bad, good."):  # fmt: skip
        assert words in card, words
    assert RECORD.energy_kwh == pytest.approx(16 * 4200 / 3600 / 1000)


def test_what_is_not_known_is_said():
    card = render_card(TrainingRecord(), FACTS, "it")
    assert "Not measured." in card and card.count("Not recorded.") == 2 and "None is given" in card
    assert not {"license", "model-index", "datasets", "base_model"} & head(card).keys()


@pytest.mark.parametrize(
    "text",
    ["x\n---\nlicense: mit\n---\n", "a | b", "<!-- gone", "quote: \" ' # {", "../../etc/passwd", "\u0000\u2028end"],
)
def test_texts_cannot_leave_their_place(text):
    record = TrainingRecord(
        task=text, base_model=text, datasets=[Dataset(text)], scores=[Score(text, text, text, 1.0)], remarks=[text], license="mit"
    )  # fmt: skip
    card = render_card(record, ModelFacts("ElectraPlusModel", 1, labels=[text]), "me/it")
    assert head(card)["license"] == "mit"
    lines = card.split("\n---\n", 1)[1].splitlines()
    assert "license: mit" not in lines and "---" not in lines
    rows = [line for line in lines if line.startswith("|")]
    assert all(row.replace("\\|", "").count("|") in (3, 5, 6) for row in rows)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_not_for_the_hub(value):
    card = render_card(TrainingRecord(scores=[Score("d", "test", "loss", value)]), FACTS, "it")
    assert "model-index" not in head(card)


def test_paths_become_their_last_part(tmp_path):
    (tmp_path / "reviews.csv").write_text("")
    assert public_name(tmp_path / "reviews.csv") == "reviews.csv"
    assert public_name("/home/anna/secret/model") == "model" and public_name("./run/model") == "model"
    assert public_name("google/electra-small-discriminator") == "google/electra-small-discriminator"


def test_record_is_read_as_it_was_written(tmp_path):
    RECORD.write(tmp_path)
    assert TrainingRecord.read(tmp_path) == RECORD
    assert TrainingRecord.read(tmp_path / "nowhere") == TrainingRecord()
    for wrong in ("[]", "{", '{"colour": 1}', '{"scores": [{"x": 1}]}'):
        (tmp_path / RECORD_FILE).write_text(wrong)
        with pytest.raises(ValueError, match="is no training record"):
            TrainingRecord.read(tmp_path)


def test_a_card_of_ours_is_written_anew_and_that_of_somebody_stays(tmp_path, caplog):
    build("SequenceClassification").save_pretrained(tmp_path)
    write_card(tmp_path, RECORD)
    write_card(tmp_path, RECORD.with_answers(license="mit"))
    card = tmp_path / "README.md"
    assert head(card.read_text())["license"] == "mit"
    card.write_text(card.read_text().replace(MARK, "").replace("mit", "cc-by-4.0"))
    write_card(tmp_path, RECORD)
    assert head(card.read_text())["license"] == "cc-by-4.0"
    folder = electra_plus.save_for_hub(tmp_path, tmp_path / "out", license="apache-2.0")
    assert head((folder / "README.md").read_text())["license"] == "cc-by-4.0"
    assert "the one that is there stays as it is" in caplog.text


@pytest.mark.parametrize("given", ["card", "text file"])
def test_a_card_that_is_given_is_taken(given, tmp_path):
    card = huggingface_hub.ModelCard("---\nlicense: mit\n---\n# Mine\n")
    card.save(tmp_path / "card.md")
    model = build("SequenceClassification")
    chosen = card if given == "card" else tmp_path / "card.md"
    folder = electra_plus.save_for_hub(model, tmp_path / "out", card=chosen)
    assert (folder / "README.md").read_text().endswith("# Mine\n")
    with pytest.raises(FileNotFoundError, match="`card` must be a ModelCard or a file"):
        electra_plus.save_for_hub(model, tmp_path / "again", card=tmp_path / "none.md")


def test_record_goes_with_the_model(tmp_path):
    build("SequenceClassification").save_pretrained(tmp_path / "run")
    small_tokenizer().save_pretrained(tmp_path / "run")
    RECORD.write(tmp_path / "run")
    folder = electra_plus.save_for_hub(tmp_path / "run", tmp_path / "out")
    assert "70 min" in (folder / "README.md").read_text() and TrainingRecord.read(folder) == RECORD
    model = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(tmp_path / "run")
    folder = electra_plus.save_for_hub(model, tmp_path / "of a model")
    assert "70 min" in (folder / "README.md").read_text()


def test_machine_is_described():
    found = describe_machine(num_processes=1, on_cpu=True)
    assert (
        found["watts"] == CORE_WATTS * found["threads"]
        and found["versions"]["electra_plus"] == electra_plus.__version__
    )
    json.dumps(found)


def test_settings_that_are_off_are_left_out():
    arguments = electra_plus.ElectraPlusTrainingArguments("x", max_steps=5, per_device_train_batch_size=4, use_cpu=True)
    found = of_arguments(arguments)
    assert found["batch size"] == 4 and found["max_steps"] == 5 and found["regime"] == "joint"
    assert not {"num_train_epochs", "fp16", "generator_learning_rate"} & found.keys()
