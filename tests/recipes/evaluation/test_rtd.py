"""Held-out detection: figures by hand, the same for every batch size and every run of a seed."""

import math

import pytest
import torch
from model_helpers import VOCAB_SIZE, small_config

from electra_plus import ElectraPlusForMaskedLM, ElectraPlusForReplacedTokenDetection
from electra_plus.recipes.evaluation.loading import load_networks
from electra_plus.recipes.evaluation.rtd import (
    RtdSettings,
    detection_figures,
    draw_by_row,
    load_generator,
    masked_batches,
    rtd,
    rtd_table,
)


@pytest.fixture
def rows():
    """Rows of the lengths 9 to 33, `[CLS]` and `[SEP]` included."""
    rng = torch.Generator().manual_seed(0)
    return [
        [2, *torch.randint(5, VOCAB_SIZE, (length,), generator=rng).tolist(), 3]
        for length in (31, 7, 20, 13, 31, 8, 25)
    ]


def text_file(folder) -> str:
    file = folder / "text.txt"
    file.write_text("\n".join(["the cat sat on the mat while the dog was sleeping under the table"] * 20))
    return str(file)


def test_figures_do_not_depend_on_batches_and_follow_the_seed(joint_folder, rows):
    networks = load_networks(joint_folder)
    parts = (networks.detector, networks.masked_lm, networks.tokenizer, rows)
    figures = [detection_figures(*parts, RtdSettings(batch_size=size)) for size in (32, 3, 1)]
    # 1e-5: losses are float32 sums of other shapes, all else is counted
    assert figures[0] == pytest.approx(figures[1], rel=1e-5) and figures[0] == pytest.approx(figures[2], rel=1e-5)
    assert detection_figures(*parts, RtdSettings()) == figures[0]
    torch.manual_seed(7)  # torch's own random state does not matter
    assert detection_figures(*parts, RtdSettings()) == figures[0]
    assert detection_figures(*parts, RtdSettings(seed=1)) != figures[0]


class OneToken(torch.nn.Module):
    """A masked LM that is certain of one token, in the shape that `logits_at_slots` needs."""

    device = torch.device("cpu")

    def __init__(self, token: int):
        super().__init__()
        self.token = token
        self.base_model = torch.nn.Module()
        self.base_model.forward = lambda: type("Output", (), {"last_hidden_state": self.states})()

    def forward(self, input_ids, attention_mask=None, return_dict=True):
        self.states = torch.zeros(*input_ids.shape, 1)
        states = self.base_model().last_hidden_state
        logits = torch.zeros(*states.shape[:2], VOCAB_SIZE)
        logits[..., self.token] = 50.0
        return type("Output", (), {"logits": logits})()


def test_figures_by_hand(tokenizer, token_table):
    rows = [[2, *[7] * 18, 3], [2, *[9] * 18, 3]]  # 3 slots each, filled with 9
    logits = torch.full((VOCAB_SIZE,), -1.0)
    logits[9] = 1.0
    figures = detection_figures(token_table(logits), OneToken(9), tokenizer, rows, RtdSettings())
    assert (figures["rows"], figures["tokens"], figures["masked"]) == (2, 40, 6)
    assert figures["replaced_rate"] == pytest.approx(3 / 40)  # a 9 for a 9 is no replacement
    assert figures["recall"] == 1.0 and figures["precision"] == pytest.approx(3 / 21)
    assert figures["accuracy"] == pytest.approx(22 / 40)
    assert figures["auc"] == pytest.approx((19 + 18 / 2) / 37)
    assert figures["generator_accuracy"] == 0.5
    assert figures["generator_loss"] == pytest.approx(25.0)  # 50 nats where it is wrong, 0 elsewhere
    assert figures["generator_perplexity"] == pytest.approx(math.exp(25.0))


def test_masks_of_a_row_are_its_own(tokenizer, rows):
    def masks(batch_size):
        masked = {}
        for first, batch in masked_batches(rows, tokenizer, RtdSettings(batch_size=batch_size)):
            for number, (labels, keep) in enumerate(zip(batch["labels"], batch["attention_mask"], strict=True), first):
                masked[number] = labels[keep == 1].tolist()
        return masked

    assert masks(32) == masks(2) and len(masks(2)) == len(rows)
    assert [len(labels) for labels in masks(2).values()] == [len(row) for row in rows]


def test_draws_follow_probabilities_row_by_row():
    logits = torch.tensor([[0.0, math.log(3)]]).repeat(4000, 1)
    drawn = draw_by_row(logits, [10] * 400, first=0, seed=0)
    assert drawn.float().mean().item() == pytest.approx(0.75, abs=0.03)  # four standard deviations
    assert torch.equal(draw_by_row(logits[:20], [10, 10], first=3, seed=0), drawn[30:50])
    assert draw_by_row(logits[:0], [0, 0], first=0, seed=0).tolist() == []


def test_suite_runs_on_text_with_its_own_or_another_generator(joint_folder, tmp_path, tokenizer):
    data = [text_file(tmp_path)]
    own = rtd(joint_folder, data, RtdSettings(row_length=16, limit=5))
    assert own["rows"] == 5 and own["tokens"] == 80 and own["masked"] == 10
    ElectraPlusForMaskedLM(small_config("classic")).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    other = rtd(joint_folder, data, RtdSettings(row_length=16, limit=5, generator=str(tmp_path / "other")))
    assert other["masked"] == 10 and other["generator_loss"] != own["generator_loss"]
    # the generator of the joint folder, named: the same
    again = rtd(joint_folder, data, RtdSettings(row_length=16, limit=5, generator=joint_folder))
    assert again["generator_loss"] == own["generator_loss"] and again["auc"] == own["auc"]
    assert "detector: AUC" in rtd_table(own)


def test_networks_that_do_not_fit_are_refused(joint_folder, tmp_path, tokenizer):
    data = [text_file(tmp_path)]
    ElectraPlusForReplacedTokenDetection(small_config()).save_pretrained(tmp_path / "detector")
    ElectraPlusForMaskedLM(small_config()).save_pretrained(tmp_path / "masked_lm")
    for name in ("detector", "masked_lm"):
        tokenizer.save_pretrained(tmp_path / name)
    with pytest.raises(ValueError, match="holds a detector alone: `--generator` must name"):
        rtd(str(tmp_path / "detector"), data, RtdSettings())
    with pytest.raises(ValueError, match="holds no detector"):
        rtd(str(tmp_path / "masked_lm"), data, RtdSettings())
    with pytest.raises(ValueError, match="`--generator .*detector` is no masked LM"):
        load_generator(str(tmp_path / "detector"), tokenizer)
    with pytest.raises(ValueError, match=r"`--row-length` \(65\) exceeds what the model reads, 64 tokens"):
        rtd(joint_folder, data, RtdSettings(row_length=65))


def test_generator_with_another_vocabulary_is_refused(joint_folder, tokenizer):
    from electra_plus.data.tokenization import train_wordpiece_tokenizer

    other = train_wordpiece_tokenizer(["quite another text"] * 9, vocab_size=40)
    with pytest.raises(ValueError, match="has another vocabulary than `--model`"):
        load_generator(joint_folder, other)


def test_text_of_unknown_words_only_is_refused(joint_folder, tokenizer):
    networks = load_networks(joint_folder)
    rows = [[2, *[tokenizer.unk_token_id] * 8, 3]]
    with pytest.raises(ValueError, match="no token that may be masked"):
        detection_figures(networks.detector, networks.masked_lm, tokenizer, rows, RtdSettings())
