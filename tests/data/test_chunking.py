"""Long texts in chunks: every token once, whole sentences, budgets kept, characters right."""

import time

import pytest
import transformers

from electra_plus.data.chunking import (
    DataCollatorForLongText,
    chunk_encoding,
    chunk_text,
    chunked_row,
    encode_texts,
    split_sentences,
    tokens_around,
)
from electra_plus.data.corpus import read_documents
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.samples import sample_path

CHINESE = "我很喜欢这本书。作者写得真好！你读过吗？“没有。”他说；她笑了……后来呢"


@pytest.fixture(scope="module")
def book():
    return "\n".join(next(iter(read_documents([sample_path("held_out_book.txt.gz")])))[:200])


@pytest.fixture(scope="module")
def tokenizer(book):
    return train_wordpiece_tokenizer([*book.split("\n"), CHINESE], 2000)


def sentences(text):
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Mr. J. Smith of the U.S. Navy paid 3.50 dollars.", ["Mr. J. Smith of the U.S. Navy paid 3.50 dollars."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Wait... what? and so on.", ["Wait... what? and so on."]),
        ("first line\n\nsecond line", ["first line", "second line"]),
        (CHINESE, ["我很喜欢这本书。", "作者写得真好！", "你读过吗？", "“没有。”", "他说；", "她笑了……", "后来呢"]),
        ("She read 《红楼梦》。 Then slept.", ["She read 《红楼梦》。", "Then slept."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


def test_a_megabyte_is_split_in_linear_time():
    for text in ("Hello there. " * 80_000, "a" * 1_000_000, "A. " * 300_000, "……" * 400_000):
        started = time.perf_counter()
        split_sentences(text)
        assert time.perf_counter() - started < 10


@pytest.mark.parametrize("chunk_length", [3, 20, 128])
def test_chunks_hold_every_token_once_and_keep_the_budget(book, tokenizer, chunk_length):
    chunks = chunk_text(book, tokenizer, chunk_length)
    assert all(3 <= len(chunk.input_ids) == len(chunk.offsets) <= chunk_length for chunk in chunks)
    whole = tokenizer(book, add_special_tokens=False, verbose=False)["input_ids"]
    assert [token for chunk in chunks for token in chunk.input_ids[1:-1]] == whole
    begins, ends = zip(*split_sentences(book), strict=True)
    for chunk in chunks:
        start, end = chunk.span
        if start in begins and end in ends:  # no word is cut
            assert tokenizer(book[start:end])["input_ids"] == chunk.input_ids


def test_a_chunk_ends_with_a_sentence_and_is_as_full_as_it_can_be(book, tokenizer):
    chunks = chunk_text(book, tokenizer, 128)
    spans = split_sentences(book)
    ends = {end for _, end in spans}
    long = [span for span in spans if len(tokenizer(book[slice(*span)])["input_ids"]) > 128]
    assert len(long) < 3  # a chunk may end within one of these
    for chunk in chunks:
        assert chunk.span[1] in ends or any(start < chunk.span[1] < end for start, end in long)
    sizes = [len(chunk.input_ids) for chunk in chunks]
    assert sum(sizes) / len(sizes) > 90


def test_overlap_repeats_whole_sentences_within_its_limit(book, tokenizer):
    chunks = chunk_text(book, tokenizer, 64, overlap=30)
    plain = chunk_text(book, tokenizer, 64)
    assert len(chunks) > len(plain)
    begins = {start for start, _ in split_sentences(book)}
    repeated = 0
    for before, after in zip(chunks, chunks[1:], strict=False):
        assert after.span[1] > before.span[1] and len(after.input_ids) <= 64  # always something new
        common = [offset for offset in after.offsets[1:-1] if offset[0] < before.span[1]]
        assert len(common) <= 30
        if common:
            repeated += 1
            assert after.span[0] in begins
    assert repeated > len(chunks) / 4
    covered = {offset for chunk in chunks for offset in chunk.offsets[1:-1]}
    assert len(covered) == len(tokenizer(book, add_special_tokens=False, verbose=False)["input_ids"])


def test_chinese_sentences_stay_whole(tokenizer):
    texts = [CHINESE[slice(*chunk.span)] for chunk in chunk_text(CHINESE, tokenizer, 20)]
    assert len(texts) > 1 and "".join(texts) == CHINESE
    assert all(text[-1] in "。！？；…”" for text in texts[:-1])


def test_text_without_a_token_is_one_empty_chunk(tokenizer):
    (chunk,) = chunk_text("", tokenizer, 10)
    assert chunk.input_ids == [tokenizer.cls_token_id, tokenizer.sep_token_id] and chunk.span == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk_length": 2}, "`chunk_length` must be at least 3 tokens, got 2"),
        ({"chunk_length": 10, "overlap": 8}, r"`overlap` must be in \[0, 8\).*got 8"),
        ({"chunk_length": 10, "overlap": -1}, "`overlap` must be"),
    ],
)
def test_what_cannot_work_is_refused(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        chunk_text("some text", tokenizer, **arguments)


def test_rows_train_the_long_classifier(book, tokenizer):
    from electra_plus import ElectraPlusConfig, ElectraPlusForLongSequenceClassification

    features = [
        {**chunked_row(chunk_text(text, tokenizer, 32)), "label": label}
        for text, label in ((book[:2000], 1), ("A short one.", 0), ("", 1))
    ]
    batch = DataCollatorForLongText(tokenizer)(features)
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=len(tokenizer), chunk_length=32, num_labels=2)
    outputs = ElectraPlusForLongSequenceClassification(config)(**batch)
    outputs.loss.backward()
    assert outputs.chunk_weights.shape == (3, len(chunk_text(book[:2000], tokenizer, 32)))
    assert outputs.chunk_weights[1, 1:].sum() == 0 and outputs.chunk_weights[1, 0] == 1


def test_texts_tokenised_together_are_those_tokenised_alone(book, tokenizer):
    texts = [book[:3000], "", "a\ud800b \udfff", CHINESE]
    around = tokens_around(tokenizer, "Who?")
    together = [
        chunk_encoding(text, encoding, around, 40, 5)
        for text, encoding in zip(texts, encode_texts(texts, tokenizer), strict=True)
    ]
    assert together == [chunk_text(text, tokenizer, 40, 5, "Who?") for text in texts]
    assert [chunk.first_token for chunk in chunk_text(texts[0], tokenizer, 40)][:2] == [
        0,
        len(chunk_text(texts[0], tokenizer, 40)[0].text_tokens),
    ]


def test_the_tokens_around_a_text_are_the_tokenizers_own():
    vocab = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "b", "c"])}
    roberta = transformers.RobertaTokenizer(vocab=vocab, merges=[])
    assert tokens_around(roberta) == ([0], [2])
    assert tokens_around(roberta, "bc") == ([0, 5, 6, 2, 2], [2])
