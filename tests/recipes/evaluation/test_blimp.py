"""Minimal pairs are judged as counted by hand, ties never as right, and any checkpoint's networks are asked."""

import gzip
import json
import math

import pytest
import torch
from model_helpers import small_config

from electra_plus import ElectraPlusForCausalLM
from electra_plus.recipes.evaluation import blimp as suite
from electra_plus.recipes.evaluation.blimp import BlimpSettings, Pair, blimp, blimp_table, judge, read_pairs
from electra_plus.recipes.evaluation.loading import Networks

PAIRS = [
    ("the cat sat", "the cat terrible", "agreement"),
    ("the dog sat", "the dog terrible", "agreement"),
    ("terrible", "terrible terrible", "islands"),
    ("terrible cat", "the cat", "islands"),
    ("cat the mat", "mat the cat", "islands"),
]


def write_pairs(file, pairs=PAIRS) -> str:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "wt", encoding="utf-8") as lines:
        for good, bad, uid in pairs:
            lines.write(json.dumps({"sentence_good": good, "sentence_bad": bad, "UID": uid}) + "\n")
    return str(file)


@pytest.fixture
def word_hater(monkeypatch, tokenizer, token_table):
    """A checkpoint whose detector finds one word replaced with odds of e to one, and others with odds of one to e."""
    logits = torch.full((len(tokenizer),), -1.0)
    logits[tokenizer.convert_tokens_to_ids(tokenizer.tokenize("terrible"))] = 1.0
    networks = Networks(tokenizer, detector=token_table(logits))
    monkeypatch.setattr(suite, "load_networks", lambda model: networks)


def test_accuracies_of_a_detector_by_hand(word_hater, tmp_path):
    figures = blimp("by hand", [write_pairs(tmp_path / "pairs.jsonl")], BlimpSettings())
    detector = figures["detector"]
    assert detector["paradigms"] == {
        "agreement": {"accuracy": 1.0, "pairs": 2, "ties": 0},
        # right, wrong, and the same words in another order: a tie
        "islands": {"accuracy": pytest.approx(1 / 3), "pairs": 3, "ties": 1},
    }
    assert detector["macro_accuracy"] == pytest.approx((1 + 1 / 3) / 2)  # not 3 / 5
    assert (detector["pairs"], detector["ties"]) == (5, 1)
    assert detector["pairs_per_second"] > 0


def test_equal_scores_are_ties_and_wrong():
    pairs = [Pair("a", "b", "x")] * 4
    figures = judge(pairs, [-5.0, -5.0, -5.0, -6.0], [-5.0, -5.0 - 1e-9, -5.001, -5.0])
    assert figures["paradigms"]["x"] == {"accuracy": 0.25, "pairs": 4, "ties": 2}


def test_phenomenon_is_the_mean_of_its_paradigms():
    pairs = [Pair("a", "b", "x", "islands"), Pair("a", "b", "x", "islands"), Pair("a", "b", "x", "islands")]
    pairs += [Pair("a", "b", "y", "islands"), Pair("a", "b", "z", "agreement"), Pair("a", "b", "w")]
    figures = judge(pairs, [1.0, 1.0, 0.0, 1.0, 0.0, 0.0], [0.5] * 6)
    assert figures["phenomena"] == {"agreement": 0.0, "islands": pytest.approx((2 / 3 + 1) / 2)}
    lines = blimp_table({"detector": {**figures, "pairs_per_second": 1.0}}).splitlines()
    assert lines[-4].split() == ["mean", "of", "islands", "0.833"]


def test_all_networks_of_a_joint_checkpoint_judge_whatever_the_batch(joint_folder, tmp_path):
    data = [write_pairs(tmp_path / "pairs.jsonl.gz")]
    figures = [blimp(joint_folder, data, BlimpSettings(batch_tokens=size)) for size in (1, 40, 8192)]
    for result in figures:
        assert list(result) == ["detector", "masked_lm"]
        for network in result.values():
            del network["pairs_per_second"]
    assert figures[0] == figures[1] == figures[2]


def test_causal_model_judges(tmp_path, tokenizer):
    ElectraPlusForCausalLM(small_config("modern", is_decoder=True)).save_pretrained(tmp_path / "causal")
    tokenizer.save_pretrained(tmp_path / "causal")
    figures = blimp(str(tmp_path / "causal"), [write_pairs(tmp_path / "pairs.jsonl")], BlimpSettings())
    assert list(figures) == ["causal_lm"] and figures["causal_lm"]["pairs"] == 5


def test_scorers_choose_the_networks(joint_folder, tmp_path):
    data = [write_pairs(tmp_path / "pairs.jsonl")]
    assert list(blimp(joint_folder, data, BlimpSettings(scorers=["masked_lm"]))) == ["masked_lm"]
    with pytest.raises(ValueError, match=r"names \['causal_lm'\], but .* holds \['detector', 'masked_lm'\]"):
        blimp(joint_folder, data, BlimpSettings(scorers=["causal_lm"]))


def test_pairs_are_read_from_files_and_folders_up_to_a_limit(tmp_path):
    write_pairs(tmp_path / "a.jsonl", PAIRS[:2])
    write_pairs(tmp_path / "b.jsonl.gz", PAIRS[2:])
    (tmp_path / "README.md").write_text("no pairs")
    (tmp_path / "c.jsonl").write_text(
        '{"sentence_good": "a", "sentence_bad": "b", "UID": "x", "linguistics_term": "islands"}'
    )
    assert read_pairs([tmp_path / "c.jsonl"]) == [Pair("a", "b", "x", "islands")]
    (tmp_path / "c.jsonl").unlink()
    assert read_pairs([tmp_path]) == [Pair(*pair) for pair in PAIRS]
    limited = read_pairs([tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"], limit=1)
    assert limited == [Pair(*PAIRS[0]), Pair(*PAIRS[2])]


def test_data_that_are_no_pairs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="`--data .*nowhere` does not exist"):
        read_pairs([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match="holds no .jsonl"):
        read_pairs([tmp_path])
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "UID": "x"}\n')
    with pytest.raises(ValueError, match=r"row 1 lacks \['sentence_good', 'sentence_bad'\]"):
        read_pairs([tmp_path])


def test_table_has_a_row_a_paradigm_and_a_column_a_network(joint_folder, tmp_path):
    figures = blimp(joint_folder, [write_pairs(tmp_path / "pairs.jsonl")], BlimpSettings())
    lines = [line.split() for line in blimp_table(figures).splitlines()]
    assert lines[0] == ["paradigm", "pairs", "detector", "masked_lm"]
    assert [line[0] for line in lines[2:4]] == ["agreement", "islands"]
    assert float(lines[4][-1]) == pytest.approx(figures["masked_lm"]["macro_accuracy"], abs=6e-4)
    assert math.isfinite(float(lines[6][-1]))
