"""Rows that are short at first: the ladder of lengths, and batches whose text is that of the whole rows."""

from copy import deepcopy

import pytest
import torch

from electra_plus.data.length_ramp import LengthRamp
from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
from electra_plus.models.packing_electra_plus import packed_document_ids

CLS, SEP = 2, 3


def collator(tokenizer, **arguments) -> DataCollatorForReplacedTokenDetection:
    """Rows of 8, 16 and from batch 4 on 32 tokens."""
    return DataCollatorForReplacedTokenDetection(tokenizer, length_ramp=LengthRamp(8, 32, num_batches=4), **arguments)


def row_of(length: int, first: int = 10) -> list[int]:
    return [CLS, *[first + slot % 40 for slot in range(length - 2)], SEP]


def original(batch: dict) -> list[list[int]]:
    """Text of each row of a batch, masks undone and padding left out."""
    ids = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
    return [row[mask.bool()].tolist() for row, mask in zip(ids, batch["attention_mask"], strict=True)]


def test_length_doubles_in_even_stages():
    lengths = [LengthRamp(16, 128, num_batches=9).row_length_at(step) for step in range(11)]
    assert lengths == [16] * 3 + [32] * 3 + [64] * 3 + [128] * 2
    # 7 batches for 2 stages: the first is longer by one
    assert [LengthRamp(16, 64, 7).row_length_at(step) for step in range(8)] == [16] * 4 + [32] * 3 + [64]
    assert LengthRamp(16, 128, num_batches=1).row_length_at(1) == 128  # more stages than batches


def test_a_batch_holds_the_same_tokens_in_more_rows(tokenizer):
    rows = [row_of(32, first=10), row_of(32, first=20)]
    for step, shape in ((0, (8, 8)), (1, (8, 8)), (2, (4, 16)), (3, (4, 16)), (4, (2, 32)), (9, (2, 32))):
        batch = collator(tokenizer)(rows, step=step)
        assert batch["input_ids"].shape == shape
        assert sum(original(batch), []) == rows[0] + rows[1]
        assert set(batch) == {"input_ids", "attention_mask", "labels"}


def test_short_rows_give_fewer_pieces_and_lose_no_token(tokenizer):
    rows = [row_of(18), row_of(8), row_of(32), row_of(9)]
    batch = collator(tokenizer)(rows, step=0)
    assert [len(row) for row in original(batch)] == [8, 8, 2, 8, 8, 8, 8, 8, 8, 1]
    assert sum(original(batch), []) == sum(rows, [])


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_in_the_rows_makes_no_row(side, tokenizer):
    tokenizer = deepcopy(tokenizer)
    tokenizer.padding_side = side
    texts = [row_of(12), row_of(32)]
    padding = [0] * 20
    padded = [*padding, *texts[0]] if side == "left" else [*texts[0], *padding]
    mask = [int(token != 0) for token in padded]
    rows = [{"input_ids": padded, "attention_mask": mask}, {"input_ids": texts[1], "attention_mask": [1] * 32}]
    batch = collator(tokenizer)(rows, step=0)
    assert sum(original(batch), []) == sum(texts, [])
    assert batch["attention_mask"].any(dim=1).all() and len(batch["input_ids"]) == 2 + 4


def test_documents_stay_apart_and_count_from_the_cut(tokenizer):
    # documents of 5, 7 and 20 tokens; then a row of one document that says nothing of it
    packed = {"input_ids": row_of(5) + row_of(7) + row_of(20), "document_lengths": [5, 7, 20]}
    batch = collator(tokenizer)([packed, row_of(10)], step=0)
    assert batch["document_ids"].tolist() == [
        [0] * 5 + [1] * 3,
        [2] * 4 + [3] * 4,
        [4] * 8,
        [5] * 8,
        [6] * 8,
        [7] * 2 + [-1] * 6,
    ]
    assert batch["position_ids"].tolist() == [
        [0, 1, 2, 3, 4, 0, 1, 2],
        [0, 1, 2, 3, 0, 1, 2, 3],
        *[[0, 1, 2, 3, 4, 5, 6, 7]] * 3,
        [0, 1, 0, 0, 0, 0, 0, 0],
    ]
    assert sum(original(batch), []) == packed["input_ids"] + row_of(10)
    # what the model makes of the positions alone is the same
    assert torch.equal(packed_document_ids(batch["position_ids"], batch["attention_mask"]), batch["document_ids"])
    numbered = {"input_ids": packed["input_ids"], "document_ids": [4] * 5 + [7] * 7 + [5] * 20}
    same = collator(tokenizer)([numbered, row_of(10)], step=0)
    assert all(torch.equal(same[name], batch[name]) for name in batch)


def test_segments_and_special_tokens_are_cut_along(tokenizer):
    row = {
        "input_ids": row_of(32),
        "token_type_ids": [0] * 12 + [1] * 20,
        "special_tokens_mask": [1] + [0] * 14 + [1] * 17,
    }
    batch = collator(tokenizer, mask_rate=0.99)([row], step=0)
    assert batch["token_type_ids"].tolist() == [[0] * 8, [0] * 4 + [1] * 4, [1] * 8, [1] * 8]
    assert (batch["labels"] != -100).tolist() == [[False] + [True] * 7, [True] * 7 + [False], *[[False] * 8] * 2]


def test_the_same_fraction_is_masked_and_one_bound_holds_for_a_shape(tokenizer):
    ramped = collator(tokenizer, mask_rate=0.25, static_slots=True)
    for step, bound in ((0, 64), (2, 64), (4, 64)):
        batch = ramped([row_of(32)] * 8, step=step)
        assert int((batch["labels"] != -100).sum()) == batch["num_masked_slots"] == bound  # a quarter of 256
    assert ramped([row_of(32)] * 7 + [row_of(25)], step=0)["num_masked_slots"] == 64  # the last piece is one token


def test_masks_follow_from_the_number_of_the_batch(tokenizer):
    rows = [row_of(32), row_of(30)]
    counting = collator(tokenizer, seed=1)
    batches = [counting(rows) for _ in range(6)]
    assert [batch["input_ids"].shape[1] for batch in batches] == [8, 8, 16, 16, 32, 32]
    counting.start_at(3)
    for name in ("input_ids", "labels", "attention_mask"):
        assert torch.equal(counting(rows, step=1)[name], batches[1][name])
    assert torch.equal(counting(rows)["labels"], batches[3]["labels"])  # a resumed run
    plain = DataCollatorForReplacedTokenDetection(tokenizer, seed=1)
    assert torch.equal(plain(rows, step=4)["labels"], batches[4]["labels"])  # after the ramp nothing is left of it
    assert torch.equal(counting.for_evaluation()(rows)["labels"], plain(rows, step=0)["labels"])


def test_whole_words_are_masked_in_pieces_too(tokenizer):
    words = collator(tokenizer, whole_word=True, mask_rate=0.3)
    pieces = [token for token in range(5, len(tokenizer)) if words._continues_word[token]]
    row = [CLS, *([pieces[0]] * 30), SEP]  # one word of 30 tokens, cut in four
    batch = words([row], step=0)
    assert sum(original(batch), []) == row
    assert (batch["labels"] != -100).sum(dim=1).tolist() == [7, 8, 8, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((24, 96, 5), None),
        (
            (48, 128, 5),
            r"`initial_row_length` must be `row_length` \(128\) halved.*got 48. Choose one of \[64, 32, 16, 8\]",
        ),
        ((32, 96, 5), r"got 32. Choose one of \[48, 24, 12\]"),
        ((128, 128, 5), "halved once or more"),
        ((256, 128, 5), "halved once or more"),
        ((4, 128, 5), "at least 8 tokens, got 4"),
        ((0, 128, 5), "at least 8 tokens, got 0"),
        ((32, 128, 0), "`num_batches` must be at least 1, got 0"),
    ],
)
def test_lengths_that_do_not_double_are_refused(arguments, message):
    if message is None:
        assert LengthRamp(*arguments).row_length_at(0) == arguments[0]
    else:
        with pytest.raises(ValueError, match=message):
            LengthRamp(*arguments)


def test_rows_that_cannot_be_cut_are_refused(tokenizer):
    with pytest.raises(ValueError, match="`row_length` must be that of the longest row, got 32 and a row of 33"):
        collator(tokenizer)([row_of(33)])
    with pytest.raises(ValueError, match=r"one value for each of a row's 20 tokens to be cut, \['label'\] has not"):
        collator(tokenizer)([{"input_ids": row_of(20), "label": 1}])
    with pytest.raises(ValueError, match="`document_lengths` must be positive and sum up"):
        collator(tokenizer)([{"input_ids": row_of(20), "document_lengths": [5, 5]}])
    with pytest.raises(
        ValueError, match=r"`initial_row_length` \(8\) must be a multiple of `pad_to_multiple_of` \(16\)"
    ):
        collator(tokenizer, pad_to_multiple_of=16)
