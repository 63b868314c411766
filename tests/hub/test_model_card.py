"""Cards and the records behind them: valid heads, true figures, nobody's folders, and what somebody wrote stays."""

import dataclasses
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
from electra_plus.hub.model_card import MARK, Reproduction, card_data, render_card
from electra_plus.hub.model_facts import ModelFacts, sizes_of
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


def snippet(facts: ModelFacts, record: TrainingRecord | None = None) -> list[str]:
    """Return the lines of a card's code that call or open something."""
    text = render_card(record or TrainingRecord(), facts, "me/it").split("## How to use it")[1].split("\n## ")[0]
    return [line for line in text.splitlines() if "me/it" in line]


TRUSTED = ", trust_remote_code=True"


@pytest.mark.parametrize(
    "facts, lines",
    [
        (
            ModelFacts("ElectraPlusForQuestionAnswering", has_code=True),
            [
                'electra_plus.pipeline("extractive-qa", model="me/it")(question="Who?", context="A text.")',
                'model = transformers.AutoModelForQuestionAnswering.from_pretrained("me/it")',
                f'transformers.pipeline("question-answering", model="me/it"{TRUSTED})(question="Who?", context="A text.")',
                f'model = transformers.AutoModelForQuestionAnswering.from_pretrained("me/it"{TRUSTED})',
            ],
        ),
        (
            ModelFacts("EncoderDecoderModel", has_code=True),
            [
                'electra_plus.pipeline("machine-translation", model="me/it")("A text.")',
                'model = transformers.AutoModelForSeq2SeqLM.from_pretrained("me/it")',
                f'transformers.pipeline("translation", model="me/it"{TRUSTED})("A text.")',
                f'model = transformers.AutoModelForSeq2SeqLM.from_pretrained("me/it"{TRUSTED})',
            ],
        ),
        (
            ModelFacts("ElectraPlusForReplacedTokenDetection", has_code=True),
            [
                'electra_plus.pipeline("replaced-token-detection", model="me/it")("The chef ate the meal.")',
                'model = electra_plus.ElectraPlusForReplacedTokenDetection.from_pretrained("me/it")',
                f'transformers.pipeline("replaced-token-detection", model="me/it"{TRUSTED})("The chef ate the meal.")',
                f'model = transformers.AutoModelForPreTraining.from_pretrained("me/it"{TRUSTED})',
            ],
        ),
        (
            ModelFacts("ElectraPlusForMultipleChoice"),
            ['model = transformers.AutoModelForMultipleChoice.from_pretrained("me/it")'],
        ),
        (
            ModelFacts("ElectraPlusForMaskedLM"),
            [
                'electra_plus.pipeline("fill-mask", model="me/it")("A [MASK] text.")',
                'model = transformers.AutoModelForMaskedLM.from_pretrained("me/it")',
                'electra-plus finetune --model "me/it" --train-file reviews.csv --output tuned',
            ],
        ),
        (
            ModelFacts("ElectraForTokenClassification", stock=True),
            [
                'transformers.pipeline("token-classification", model="me/it")("A text.")',
                'model = transformers.ElectraForTokenClassification.from_pretrained("me/it")',
            ],
        ),
        (
            ModelFacts("ElectraForQuestionAnswering", stock=True),  # transformers 5 has no pipeline for it
            ['model = transformers.ElectraForQuestionAnswering.from_pretrained("me/it")'],
        ),
    ],
    ids=lambda value: value.class_name if isinstance(value, ModelFacts) else "",
)
def test_every_class_is_opened_and_called_its_own_way(facts, lines):
    assert snippet(facts) == lines


def test_example_of_the_record_is_tried():
    record = TrainingRecord(example='他说 "好"')
    assert '("他说 \\"好\\"")' in snippet(ModelFacts("ElectraPlusForTokenClassification"), record)[0]


def test_hub_names_of_tasks():
    tags = {name: ModelFacts(name).pipeline_tag for name in ("ElectraForQuestionAnswering", "ElectraPlusForMultipleChoice",
            "ElectraForMultipleChoice", "ElectraPlusForLongSequenceClassification", "EncoderDecoderModel", "ElectraPlusForPreTraining")}  # fmt: skip
    assert list(tags.values()) == ["question-answering", "multiple-choice", "multiple-choice", "text-classification", "translation", None]  # fmt: skip


def test_what_is_published_nowhere_says_how_to_get_it():
    how = Reproduction("electra-plus quickstart --output out", "out/sentiment", ["It takes minutes."])
    card = render_card(RECORD, ModelFacts("ElectraPlusForSequenceClassification"), "sentiment-en", how)
    assert head(card)["model-index"][0]["name"] == "sentiment-en" and "# sentiment-en\n" in card
    getting = card.split("## How to get it\n")[1].split("## How to use it\n")[0]
    assert "published nowhere" in getting and "```bash\nelectra-plus quickstart --output out\n```" in getting
    assert "It takes minutes." in getting and 'from_pretrained("out/sentiment")' in card
    assert "parameters" not in card  # which are not known here
    assert MARK not in card and "## How to get it" not in render_card(RECORD, FACTS, "me/it")


def test_only_names_that_the_hub_takes_are_in_the_head():
    record = TrainingRecord(
        base_model="a/b c",
        datasets=[Dataset("books, and/or reviews"), Dataset("me/it")],
        scores=[Score("Books, held out", "test", "F1 of all", 0.5)],
    )
    data = card_data(record, FACTS, "it")
    assert data.base_model is None and data.datasets == ["me/it"]
    (found,) = data.eval_results
    assert (found.dataset_type, found.dataset_name, found.metric_type) == ("books_held_out", "Books, held out", "f1_of_all")  # fmt: skip


def test_licence_of_another_kind_has_its_name():
    card = render_card(TrainingRecord(license="other", license_name="research-use-only"), FACTS, "it")
    assert head(card)["license"] == "other" and head(card)["license_name"] == "research-use-only"
    assert "The weights: other (research-use-only); the code, electra_plus: apache-2.0." in card


def test_kind_of_time_small_energies_and_shares_are_said():
    record = TrainingRecord(seconds=90.0, clock="processor", machine={"processor": "P", "threads": 1, "watts": 8},
                            hyperparameters={"warmup_steps": 0.1, "max_steps": 10_000})  # fmt: skip
    card = render_card(record, FACTS, "it")
    for row in ("| processor time | 1.5 min |", "| processor | P, 1 thread |", "0.0002 kWh (8 W", "| warmup_steps | 0.1 of the steps |",
                "| max_steps | 10,000 |"):  # fmt: skip
        assert row in card, row
    assert "under 0.0001 kWh (8 W" in render_card(record.with_answers(seconds=9.0), FACTS, "it")


def test_names_of_scores_are_explained_once():
    scores = [
        Score("a", "test", "auc", 0.5),
        Score("b", "test", "auc", 0.6),
        Score("b", "test", "bleu", 37.8446, 0.4567, 2),
    ]
    record = TrainingRecord(scores=scores, score_remarks=["Few rows."])
    assert "- `auc`: " not in render_card(record, FACTS, "it")  # of a classifier it is something else
    card = render_card(record, ModelFacts("ElectraPlusForPreTraining"), "it")
    assert card.count("- `auc`: ") == 1 and "| 37.84 ± 0.46 | 2 |" in card and "\nFew rows.\n" in card


def test_only_a_joint_model_has_a_generator():
    config = build("PreTraining").config.to_dict()
    assert "generator" in sizes_of(config, "ElectraPlusForPreTraining")
    assert "generator" not in sizes_of(config, "ElectraPlusForSequenceClassification")


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
    assert found["seed"] == 42 and of_arguments(dataclasses.replace(arguments, seed=0))["seed"] == 0
    assert found["batch size"] == 4 and found["max_steps"] == 5 and found["regime"] == "joint"
    assert not {"num_train_epochs", "fp16", "generator_learning_rate"} & found.keys()
