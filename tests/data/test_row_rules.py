"""Rows by hand, no token lost, at most 2 % padding, and the original's frequencies."""

import random
from collections import Counter

import numpy as np
import pytest

from electra_plus.data.row_rules import encode_documents, pack_documents, pair_sentences

CLS, SEP = 2, 3


def rows_of(rule, documents, row_length, **arguments):
    documents = [[np.array(part) for part in document] for document in documents]
    rows = rule(documents, row_length, CLS, SEP, **arguments)
    return [{name: np.asarray(value).tolist() for name, value in row.items()} for row in rows]


def documents_of_lengths(lengths):
    """Documents whose tokens all differ, in two parts each."""
    documents, first = [], 10
    for length in lengths:
        tokens = np.arange(first, first + length)
        documents.append([tokens[: length // 2], tokens[length // 2 :]])
        first += length
    return documents


def test_documents_share_rows_the_longest_first():
    documents = [[[10, 11]], [[20, 21, 22], [23, 24]], [[30]], []]
    assert rows_of(pack_documents, documents, row_length=10) == [
        {"input_ids": [CLS, 20, 21, 22, 23, 24, SEP, CLS, 30, SEP], "document_lengths": [7, 3]},
        {"input_ids": [CLS, 10, 11, SEP], "document_lengths": [4]},
    ]


def test_long_document_becomes_full_rows_and_a_rest():
    documents = [[list(range(10, 22))], [[30]]]
    assert rows_of(pack_documents, documents, row_length=7) == [
        {"input_ids": [CLS, 10, 11, 12, 13, 14, SEP], "document_lengths": [7]},
        {"input_ids": [CLS, 15, 16, 17, 18, 19, SEP], "document_lengths": [7]},
        {"input_ids": [CLS, 20, 21, SEP, CLS, 30, SEP], "document_lengths": [4, 3]},
    ]


def test_rest_of_a_long_document_is_no_shorter_than_a_piece_may_be():
    counts = Counter()
    rows = rows_of(pack_documents, documents_of_lengths([127]), row_length=64, counts=counts)
    # 62 and 57 tokens of text: 62 and 62 would leave 3, and 8 are the least
    assert [row["document_lengths"] for row in rows] == [[64], [59], [10]]
    assert counts["documents_cut"] == 0  # it does not fit a row


def test_documents_are_cut_only_to_fill_rows_that_would_stay_empty():
    counts = Counter()
    # two of 40 tokens fill no row of 64: the second is cut; 30 + 34 fill one as they are
    rows = rows_of(pack_documents, documents_of_lengths([38, 38, 28, 32]), row_length=64, counts=counts)
    assert [row["document_lengths"] for row in rows] == [[34, 30], [40, 24], [18]]
    assert counts["documents_cut"] == 1


@pytest.mark.parametrize("row_length", [3, 5, 16, 64, 128, 500])
def test_no_token_is_lost_or_moved_out_of_order(row_length):
    rng = random.Random(row_length)
    lengths = [rng.choice([0, 1, 3, 8, 20, 63, 200, rng.randint(1, 1500)]) for _ in range(120)]
    found: dict[int, list[int]] = {}
    document_of = np.repeat(np.arange(len(lengths)), lengths)
    pieces = []
    for row in rows_of(pack_documents, documents_of_lengths(lengths), row_length):
        assert len(row["input_ids"]) == sum(row["document_lengths"]) <= row_length
        ends = np.cumsum(row["document_lengths"])
        for length, end in zip(row["document_lengths"], ends, strict=True):
            piece = row["input_ids"][end - length : end]
            assert piece[0] == CLS and piece[-1] == SEP and length > 2
            assert len({document_of[token - 10] for token in piece[1:-1]}) == 1
            pieces.append(piece[1:-1])
    for piece in sorted(pieces):
        found.setdefault(int(document_of[piece[0] - 10]), []).extend(piece)
    assert found == {
        number: np.concatenate(document).tolist()
        for number, document in enumerate(documents_of_lengths(lengths))
        if lengths[number]
    }


LENGTHS = {
    "articles": lambda rng: int(rng.lognormvariate(5.5, 1.0)) + 1,
    "headlines": lambda rng: rng.randint(25, 90),
    "reviews": lambda rng: int(rng.lognormvariate(4.5, 0.7)) + 1,
    "books": lambda rng: rng.randint(3000, 9000),
}


@pytest.mark.parametrize("row_length", [64, 128, 512])
@pytest.mark.parametrize("kind", LENGTHS)
def test_padding_is_at_most_two_percent(kind, row_length):
    rng = random.Random(0)
    # the last row may be anything: enough documents for it to count little
    lengths = [LENGTHS[kind](rng) for _ in range(30 if kind == "books" else 800)]
    rows = rows_of(pack_documents, documents_of_lengths(lengths), row_length)
    padding = 1 - sum(len(row["input_ids"]) for row in rows) / (row_length * len(rows))
    assert padding <= 0.02


def test_pairs_by_hand():
    class Draws:
        """The draws that the rule asks for, one by one."""

        def __init__(self, *draws):
            self.draws = list(draws)

        def random(self):
            return self.draws.pop(0)

        def randint(self, low, high):
            assert (low, high) == (5, 13)
            return self.draws.pop(0)

    sentences = [[10, 11], [12, 13], [14, 15, 16, 17], [18, 19, 20, 21, 22], [30, 31], [32], [40, 41, 42]]
    draws = Draws(
        0.5,  # not a single segment: A is to have less than (13 - 3) // 2 = 5 tokens
        0.6,  # the third sentence does not fit, and the coin says B
        0.04, 5,  # the next target is 5 tokens
        0.05,  # a single segment: all goes into A, though 1 is wanted
        0.9,  # the next target is a full row
        0.5,  # the last sentence ends the document before the target
        0.9,
    )  # fmt: skip
    counts = Counter()
    documents = [sentences[:6], sentences[6:]]
    documents[0][4:6] = [[30, 31], [32, 33, 34]]
    assert rows_of(pair_sentences, documents, row_length=13, rng=draws, counts=counts) == [
        {
            "input_ids": [CLS, 10, 11, 12, 13, SEP, 14, 15, 16, 17, 18, 19, SEP],
            "token_type_ids": [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1],
        },
        {"input_ids": [CLS, 30, 31, 32, 33, 34, SEP], "token_type_ids": [0] * 7},
        {"input_ids": [CLS, 40, 41, 42, SEP], "token_type_ids": [0] * 5},
    ]
    assert draws.draws == [] and counts["tokens_cut_off"] == 3


def test_pairs_never_cross_documents_and_have_the_originals_frequencies():
    rng = random.Random(0)
    documents = []
    for number in range(300):
        lengths = [rng.randint(4, 30) for _ in range(80)]
        documents.append([[1000 + number] * length for length in lengths])
    rows = rows_of(pair_sentences, documents, row_length=64, rng=random.Random(0))
    for row in rows:
        assert len(set(row["input_ids"]) - {CLS, SEP}) == 1
        assert len(row["input_ids"]) == len(row["token_type_ids"]) <= 64
        assert row["input_ids"].count(SEP) == 1 + max(row["token_type_ids"])
    single = sum(1 not in row["token_type_ids"] for row in rows) / len(rows)
    short = sum(len(row["input_ids"]) < 50 for row in rows) / len(rows)
    # some 7,500 rows: a tenth by the draw, and those whose first sentence is already the last
    assert 0.09 < single < 0.15
    # a twentieth have a random target of 5 to 64 tokens, and the last row of each document (one in 25) stops where it must
    assert 0.04 < short < 0.10


def test_encoding_keeps_documents_and_units_apart(tokenizer):
    documents = [["The cat sat. The dog slept.", "the table"], [], ["我很喜欢。"]]
    paragraphs = encode_documents(documents, tokenizer)
    sentences = encode_documents(documents, tokenizer, by_sentence=True)
    assert [len(document) for document in paragraphs] == [2, 0, 1]
    assert [len(document) for document in sentences] == [3, 0, 1]
    for by_unit in (paragraphs, sentences):
        ids = np.concatenate(by_unit[0]).tolist()
        assert ids == [
            token for text in documents[0] for token in tokenizer(text, add_special_tokens=False)["input_ids"]
        ]


def test_tokenizer_that_would_cut_or_pad_does_neither(tokenizer, monkeypatch):
    from copy import deepcopy

    from electra_plus.data import row_rules

    monkeypatch.setattr(row_rules, "ENCODED_CHARACTERS", 10)  # several batches
    cutting = deepcopy(tokenizer)
    cutting(["the cat", "the"], truncation=True, max_length=3, padding="max_length")
    documents = [["the cat sat on the mat"] * 3, ["the"]]
    for one, other in zip(encode_documents(documents, cutting), encode_documents(documents, tokenizer), strict=True):
        assert [ids.tolist() for ids in one] == [ids.tolist() for ids in other]
    assert len({len(ids) for ids in encode_documents(documents, cutting)[0]}) == 1
    assert len(encode_documents(documents, cutting)[0][0]) > 3
