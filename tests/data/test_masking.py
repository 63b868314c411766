import importlib.util

import pytest
import torch
from torch.utils.data import DataLoader

from electra_plus.data.masking import (
    DataCollatorForReplacedTokenDetection,
    choose_slots,
    choose_whole_words,
    num_slots_to_mask,
)
from electra_plus.data.packing import DataCollatorForPacking
from electra_plus.data.tokenization import SPECIAL_TOKENS, train_wordpiece_tokenizer

CLS, SEP, MASK = 2, 3, 4


@pytest.fixture(scope="module")
def tokenizer():
    corpus = ["the cat sat on the mat while the dog was sleeping under the table"] * 20
    return train_wordpiece_tokenizer(corpus, vocab_size=60)


def make_rows(num_rows: int, length: int) -> list[list[int]]:
    rng = torch.Generator().manual_seed(0)
    return [[CLS, *torch.randint(5, 40, (length - 2,), generator=rng).tolist(), SEP] for _ in range(num_rows)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_number_of_slots_counts_special_tokens_and_is_at_least_one():
    num_tokens, num_candidates = torch.tensor([100, 20, 3, 2]), torch.tensor([98, 18, 1, 0])
    assert num_slots_to_mask(num_tokens, num_candidates, 0.15).tolist() == [15, 3, 1, 0]


def test_slots_are_distinct_candidates_and_as_many_as_asked():
    candidates = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    chosen = choose_slots(candidates, torch.tensor([2, 1]), rng())
    assert chosen.sum(dim=1).tolist() == [2, 1]
    assert not (chosen & ~candidates).any()


def test_every_candidate_is_chosen_equally_often():
    candidates = torch.tensor([[False, True, True, True, True, False]]).expand(8000, -1)
    counts = choose_slots(candidates, torch.full((8000,), 2), rng()).sum(dim=0)
    # 8000 draws of 2 from 4: 4000 each, standard deviation 45
    assert counts[0] == counts[5] == 0
    assert (counts[1:5] - 4000).abs().max() < 200


def test_whole_words_are_chosen_or_left_together():
    # words: [1, 2], [3], [4, 5, 6]
    candidates = torch.tensor([[False, True, True, True, True, True, True, False]])
    continues = torch.tensor([[False, False, True, False, False, True, True, False]])
    seen = set()
    for seed in range(50):
        chosen = choose_whole_words(candidates, continues, torch.tensor([3]), rng(seed))[0].tolist()
        seen.add(tuple(slot for slot, value in enumerate(chosen) if value))
    assert seen == {(1, 2, 3), (4, 5, 6)}


def test_a_word_longer_than_the_budget_is_chosen_if_nothing_else_fits():
    candidates = torch.ones(1, 4, dtype=torch.bool)
    continues = torch.tensor([[False, True, True, True]])
    assert choose_whole_words(candidates, continues, torch.tensor([1]), rng()).all()


def test_batch_holds_original_ids_as_labels(tokenizer):
    rows = make_rows(4, 20)
    batch = DataCollatorForReplacedTokenDetection(tokenizer)(rows)
    original = torch.tensor(rows)
    chosen = batch["labels"] != -100
    assert (batch["labels"][chosen] == original[chosen]).all()
    assert (batch["input_ids"][~chosen] == original[~chosen]).all()
    assert chosen.sum(dim=1).tolist() == [3, 3, 3, 3]
    assert batch["attention_mask"].all()


def test_rates_are_those_of_the_paper(tokenizer):
    collator = DataCollatorForReplacedTokenDetection(tokenizer)
    rows = make_rows(2000, 42)
    batch, original = collator(rows), torch.tensor(rows)
    chosen = batch["labels"] != -100
    assert chosen.sum().item() == 2000 * 6  # round(0.15 * 42)
    masked = batch["input_ids"] == MASK
    assert not (masked & ~chosen).any()
    # 12,000 slots at 0.85: standard deviation 0.0033
    assert abs(masked[chosen].float().mean().item() - 0.85) < 0.015
    # no random tokens: what is not masked is the original
    assert (batch["input_ids"][~masked] == original[~masked]).all()


def test_special_tokens_and_padding_are_never_masked(tokenizer):
    rows = [[CLS, 7, SEP, 8, SEP], [CLS, 9, 10, 11, 12, 13, 14, 15, 16, SEP]]
    collator = DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=0.9)
    batch = collator(rows)
    assert batch["input_ids"].shape == (2, 10)
    assert (batch["labels"][0] != -100).tolist() == [False, True, False, True] + [False] * 6
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 10]


def test_special_tokens_mask_of_the_rows_is_respected(tokenizer):
    row = {"input_ids": [CLS, 7, 8, 9, SEP], "special_tokens_mask": [1, 0, 1, 1, 1]}
    batch = DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=0.9)([row])
    assert (batch["labels"] != -100).tolist() == [[False, True, False, False, False]]
    assert "special_tokens_mask" not in batch


def test_a_row_of_special_tokens_only_gets_no_mask(tokenizer):
    batch = DataCollatorForReplacedTokenDetection(tokenizer)([[CLS, SEP]])
    assert (batch["labels"] == -100).all()


def test_masks_depend_on_seed_rank_and_step_alone(tokenizer):
    rows = make_rows(4, 30)

    def labels(seed=0, rank=0, step=0):
        torch.rand(3)  # the global state must not matter
        return DataCollatorForReplacedTokenDetection(tokenizer, seed=seed, rank=rank)(rows, step=step)["labels"]

    assert torch.equal(labels(), labels())
    for other in ({"seed": 1}, {"rank": 1}, {"step": 1}):
        assert not torch.equal(labels(), labels(**other)), other


def test_calls_are_counted_as_steps_and_can_be_set(tokenizer):
    rows = make_rows(4, 30)
    collator = DataCollatorForReplacedTokenDetection(tokenizer)
    first, second = collator(rows)["labels"], collator(rows)["labels"]
    assert not torch.equal(first, second)
    collator.start_at(1)
    assert torch.equal(collator(rows)["labels"], second)


@pytest.mark.multiprocess
def test_number_of_workers_does_not_change_the_masks(tokenizer):
    rows = make_rows(24, 30)
    batches = {}
    for num_workers in (0, 1, 3):
        collator = DataCollatorForReplacedTokenDetection(tokenizer)
        loader = DataLoader(rows, batch_size=4, collate_fn=collator, num_workers=num_workers)
        batches[num_workers] = torch.cat([batch["labels"] for batch in loader])
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[3])


def test_whole_word_option_follows_wordpieces(tokenizer):
    collator = DataCollatorForReplacedTokenDetection(tokenizer, whole_word=True, mask_rate=0.3, keep_rate=0.0)
    text = "sleeping dog under mat sleeping cat"
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
    for step in range(20):
        chosen = (collator([tokenizer(text)], step=step)["labels"] != -100)[0]
        for slot, token in enumerate(tokens):
            if token.startswith("##"):
                assert chosen[slot] == chosen[slot - 1]


@pytest.mark.skipif(importlib.util.find_spec("jieba") is None, reason="Chinese words need jieba")
def test_chinese_words_are_masked_whole():
    tokenizer = train_wordpiece_tokenizer(["我很喜欢这本书，sleeping sleeping"] * 5, vocab_size=60)
    collator = DataCollatorForReplacedTokenDetection(tokenizer, whole_word=True, mask_rate=0.3)
    encoded = tokenizer("我很喜欢书")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert tokens == ["[CLS]", "我", "很", "喜", "欢", "书", "[SEP]"]
    seen = set()
    for step in range(40):
        chosen = (collator([encoded], step=step)["labels"] != -100)[0].tolist()
        assert chosen[3] == chosen[4]  # 喜欢 is one word
        seen.add(tuple(chosen))
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"mask_rate": 0.0}, "mask_rate"), ({"mask_rate": 1.5}, "mask_rate"), ({"keep_rate": -0.1}, "keep_rate")],
)
def test_rates_outside_their_range_are_refused(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        DataCollatorForReplacedTokenDetection(tokenizer, **arguments)


def test_mask_rate_moves_from_batch_to_batch(tokenizer):
    how = {"mask_rate": 0.5, "final_mask_rate": 0.1, "num_batches": 4, "static_slots": True}
    collator = DataCollatorForReplacedTokenDetection(tokenizer, **how)
    batches = [collator(make_rows(2, 40)) for _ in range(6)]
    assert [int((batch["labels"][0] != -100).sum()) for batch in batches] == [20, 16, 12, 8, 4, 4]
    assert {batch["num_masked_slots"] for batch in batches} == {40}  # one bound for all
    collator.start_at(3)
    assert int((collator(make_rows(1, 40))["labels"] != -100).sum()) == 8  # a resumed run goes on with its rate
    with pytest.raises(ValueError, match="needs `num_batches`"):
        DataCollatorForReplacedTokenDetection(tokenizer, final_mask_rate=0.1)


def test_special_token_ids_are_the_usual_ones(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("whole_word", [False, True])
def test_the_bound_of_the_slots_is_one_for_batches_of_one_shape(whole_word, tokenizer):
    collator = DataCollatorForReplacedTokenDetection(tokenizer, whole_word=whole_word, static_slots=True)
    full, short = make_rows(4, 20), [*make_rows(1, 20), *make_rows(3, 6)]
    a = tokenizer.convert_tokens_to_ids("a")
    for row in (*full, *short):  # words of one token: a longer one may exceed the budget of a short row
        tokens = tokenizer.convert_ids_to_tokens(row)
        row[:] = [a if token.startswith("##") else number for number, token in zip(row, tokens, strict=True)]
    bounds = set()
    for rows in (full, short, full):
        batch = collator(rows)
        assert isinstance(batch["num_masked_slots"], int)
        assert (batch["labels"] != -100).sum() <= batch["num_masked_slots"]
        bounds.add(batch["num_masked_slots"])
    assert bounds == {4 * 3}
    assert "num_masked_slots" not in DataCollatorForReplacedTokenDetection(tokenizer)(full)


def test_a_word_longer_than_the_budget_raises_the_bound(tokenizer):
    collator = DataCollatorForReplacedTokenDetection(tokenizer, whole_word=True, static_slots=True)
    pieces = [token for token in range(5, len(tokenizer)) if collator._continues_word[token]]
    batch = collator([[CLS, 5, *(pieces * 9)[:6], SEP]])  # one word of seven tokens, a budget of one
    assert batch["num_masked_slots"] == (batch["labels"] != -100).sum() == 7


def test_rows_of_several_documents_say_where_each_begins(tokenizer):
    rows = [
        {"input_ids": [CLS, 7, SEP, CLS, 8, 9, SEP], "document_lengths": [3, 4]},
        {"input_ids": [CLS, 10, 11, SEP]},
        {"input_ids": [CLS, 12, SEP, CLS, SEP], "document_ids": [4, 4, 4, 5, 5]},
    ]
    batch = DataCollatorForReplacedTokenDetection(tokenizer, pad_to_multiple_of=8)(rows)
    assert batch["position_ids"].tolist() == [
        [0, 1, 2, 0, 1, 2, 3, 0],
        [0, 1, 2, 3, 0, 0, 0, 0],
        [0, 1, 2, 0, 1, 0, 0, 0],
    ]
    assert batch["document_ids"].tolist() == [
        [0, 0, 0, 1, 1, 1, 1, -1],
        [2, 2, 2, 2, -1, -1, -1, -1],
        [3, 3, 3, 4, 4, -1, -1, -1],
    ]
    assert torch.equal(batch["attention_mask"], (batch["document_ids"] >= 0).long())
    assert batch["position_ids"].dtype == batch["document_ids"].dtype == torch.long
    assert "document_lengths" not in batch


def test_documents_are_numbered_as_the_packing_collator_does(tokenizer):
    documents = [[CLS, 7, 8, 9, SEP], [CLS, 10, SEP], [CLS, 11, 12, 13, 14, SEP]]  # first-fit: 2 | 0 1
    packed = DataCollatorForPacking(tokenizer, row_length=8)([{"input_ids": ids} for ids in documents])
    rows = [{"input_ids": documents[2], "document_lengths": [6]}]
    rows.append({"input_ids": documents[0] + documents[1], "document_lengths": [5, 3]})
    batch = DataCollatorForReplacedTokenDetection(tokenizer)(rows)
    for name in ("attention_mask", "position_ids"):
        assert torch.equal(batch[name], packed[name])
    number = torch.tensor([1, 2, 0, -1])  # the same documents, in the order of the rows; the last stands for padding
    assert torch.equal(batch["document_ids"], number[packed["document_ids"]])


def test_padding_on_the_left_moves_the_documents_along(tokenizer):
    from copy import deepcopy

    left = deepcopy(tokenizer)
    left.padding_side = "left"
    rows = [{"input_ids": [CLS, SEP, CLS, 7, SEP], "document_lengths": [2, 3]}, {"input_ids": [CLS, 8, SEP]}]
    batch = DataCollatorForReplacedTokenDetection(left)(rows)
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 1, 2]]
    assert batch["document_ids"].tolist() == [[0, 0, 1, 1, 1], [-1, -1, 2, 2, 2]]


def test_masks_of_a_row_are_the_same_whether_or_not_its_documents_are_named(tokenizer):
    plain = make_rows(3, 20)
    named = [{"input_ids": row, "document_lengths": [8, 12]} for row in plain]
    one, other = (DataCollatorForReplacedTokenDetection(tokenizer)(rows) for rows in (plain, named))
    assert set(one) == {"input_ids", "attention_mask", "labels"}
    assert set(other) == {*one, "position_ids", "document_ids"}
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            {"document_lengths": [2, 2]},
            r"`document_lengths` must be positive and sum up to the row's 3 tokens, got \[2, 2\]",
        ),
        ({"document_lengths": [3, 0]}, "`document_lengths` must be positive"),
        ({"document_ids": [0, 0]}, "`document_ids` must have one number for each of the row's 3 tokens, got 2"),
    ],
)
def test_documents_that_do_not_cover_their_row_are_refused(tokenizer, documents, message):
    with pytest.raises(ValueError, match=message):
        DataCollatorForReplacedTokenDetection(tokenizer)([{"input_ids": [CLS, 7, SEP], **documents}])
