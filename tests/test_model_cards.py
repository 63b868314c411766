"""The cards in `model_cards/` are those that `benchmarks/cards.py` makes of the results, and the Hub can read them."""

import importlib
import json
from pathlib import Path

import huggingface_hub
import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "model_cards").glob("*.md"))
HUB_TASKS = ("fill-mask", "text-classification", "token-classification", "text-generation", "translation")
# The numbers in the weight files that the benchmarks' runs left.
PARAMETERS = {
    "quickstart-masked-lm": 1_111_424,
    "quickstart-pretrained": 1_119_937,
    "quickstart-sentiment": 1_107_458,
    "half-hour-modern-rtd": 1_845_121,
    "half-hour-modern-masked-lm": 1_639_808,
    "half-hour-classic-rtd": 1_901_057,
    "small-en": 14_749_242,
    "small-zh": 13_537_416,
    "multi30k-en-de": 8_894_016,
}


@pytest.fixture
def cards(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("cards")


@pytest.fixture
def two_cards(cards, monkeypatch, tmp_path):
    """The script with two checkpoints, and a folder of their cards."""
    monkeypatch.setattr(cards, "CARDS", {name: cards.CARDS[name] for name in ("small-en", "novels-zh")})
    monkeypatch.setattr(cards, "CARDS_FOLDER", tmp_path / "cards")
    assert cards.main([]) == 0
    return cards


def test_cards_are_up_to_date(cards, capsys):
    assert cards.main(["--check"]) == 0, f"run `python benchmarks/cards.py`\n{capsys.readouterr().err}"
    assert {file.stem for file in FILES} == set(cards.CARDS)


def test_a_stale_card_is_told_and_written_anew(two_cards, capsys):
    file = two_cards.CARDS_FOLDER / "small-en.md"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("| optimizer steps | 4,500 |", "| optimizer steps | 9,000 |"), encoding="utf-8")
    assert two_cards.main(["--check"]) == 1
    assert capsys.readouterr().err == "small-en.md: out of date\n"
    assert two_cards.main([]) == 0 and file.read_text(encoding="utf-8") == text


def test_a_missing_card_and_one_of_nothing_are_told(two_cards, capsys):
    (two_cards.CARDS_FOLDER / "novels-zh.md").rename(two_cards.CARDS_FOLDER / "other.md")
    assert two_cards.main(["--check"]) == 1
    assert capsys.readouterr().err == "novels-zh.md: out of date\nother.md: belongs to no checkpoint\n"
    assert two_cards.main([]) == 1 and (two_cards.CARDS_FOLDER / "other.md").exists()  # somebody must look at it


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_hub_can_read_it(file):
    card = huggingface_hub.ModelCard.load(file)
    data, text = card.data, card.text
    assert isinstance(data, huggingface_hub.ModelCardData)
    assert data.license in ("apache-2.0", "other") and data.library_name == "transformers" and data.language
    assert data.model_name == file.stem and data.eval_results
    for one in data.eval_results:
        assert isinstance(one.metric_value, float) and one.dataset_type and not {" ", ","} & set(one.dataset_type)
    is_joint = "`ElectraPlusForPreTraining`" in text
    assert data.pipeline_tag in ((None,) if is_joint else HUB_TASKS)
    # what may not be used freely says so twice, and nothing else does
    is_free = data.license == "apache-2.0"
    assert data.to_dict().get("license_name") == (None if is_free else "research-use-only")
    assert ("It is for research only:" in text) is not is_free
    assert "The weights are published nowhere" in text and "Not recorded" not in text and "Not measured" not in text


def test_parameters_are_those_of_the_weight_files(cards):
    assert {name: cards.CARDS[name]().facts.parameters for name in PARAMETERS} == PARAMETERS


def test_figures_are_those_of_the_results(cards):
    found = json.loads((ROOT / "benchmarks" / "results" / "gpu_masked_lm_english.json").read_text(encoding="utf-8"))
    card = cards.CARDS["small-en"]()
    assert (
        card.record.seconds == pytest.approx(127.0162) and card.record.scores[0].value == found["held_out"]["eval_loss"]
    )
    assert card.record.energy_kwh == pytest.approx(700 * 127.0162 / 3.6e6)  # an H200 has 700 W
    assert card.record.clock == "wall" and cards.CARDS["multi30k-en-de"]().record.clock == "processor"
    topics = cards.CARDS["thucnews-small-zh"]().record.scores[0]
    # 206, 205 and 212 of 300 titles
    assert (topics.value, topics.deviation, topics.num_seeds) == (pytest.approx(623 / 900), pytest.approx(0.0126, abs=1e-4), 3)  # fmt: skip


def test_warm_up_is_that_of_the_log(cards):
    found = json.loads((ROOT / "benchmarks" / "results" / "gpu_pretraining.json").read_text(encoding="utf-8"))
    # the original's schedule: warm-up times decay, of the step before the one that is logged
    step, rate = found["log"][0]["step"] - 1, found["recipe"]["training"]["learning_rate"]
    assert step < cards.pretraining_cards.WARMUP
    expected = rate * step / cards.pretraining_cards.WARMUP * (1 - step / found["of"])
    assert found["log"][0]["learning_rate"] == pytest.approx(expected, rel=1e-6)


def test_what_did_not_learn_says_so():
    text = (ROOT / "model_cards" / "classic-small-few-steps.md").read_text(encoding="utf-8")
    summary = text.split("# classic-small-few-steps\n")[1].split("## ")[0]
    assert "**It did not learn to detect.**" in summary and "the AUC is 0.572 where chance is 0.5" in summary
