"""How tokenised documents become rows: whole documents side by side, or the original's pairs of segments."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from electra_plus.data.chunking import split_sentences

# As in `pack_rows`: a document is not cut into pieces with less text than this, in tokens (in short rows an eighth of the row).
MIN_PIECE_TOKENS = 8
# Documents are cut only to fill rows that would be emptier than this, as a fraction of the row.
MAX_ROOM_FRACTION = 0.02
# Tokenised at a time: the tokenizer needs about 150 bytes a token.
ENCODED_CHARACTERS = 2**20
# Looked at for what a tokenizer does not know: to know where each token stands takes a third longer.
UNKNOWN_SAMPLE_CHARACTERS = 2**17

Row = dict[str, Any]
Document = list[np.ndarray]


def encode_documents(
    documents: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, by_sentence: bool = False
) -> list[Document]:
    """
    Tokenise documents, without special tokens.

    Args:
        documents: Lists of paragraphs.
        tokenizer ([`PreTrainedTokenizerBase`]): Any.
        by_sentence (`bool`, *optional*, defaults to `False`): Cut paragraphs into sentences first.

    Returns:
        `list[list[np.ndarray]]`: for every document an int32 array of token ids for each paragraph or sentence.
    """
    encoded: list[Document] = [[] for _ in documents]
    texts: list[tuple[int, str]] = []
    size = 0

    def flush() -> None:
        for (number, _), ids in zip(texts, _encode([text for _, text in texts], tokenizer), strict=True):
            if len(ids):
                encoded[number].append(np.asarray(ids, dtype=np.int32))
        texts.clear()

    for number, document in enumerate(documents):
        for paragraph in document:
            spans = split_sentences(paragraph) if by_sentence else [(0, len(paragraph))]
            texts.extend((number, paragraph[start:end]) for start, end in spans)
            size += len(paragraph)
            if size >= ENCODED_CHARACTERS:
                flush()
                size = 0
    flush()
    return encoded


def _encode(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    if not texts:
        return []
    if not tokenizer.is_fast:
        return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    # a third faster than calling the tokenizer, which also works out where each token stands
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def count_unknown(
    documents: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, sample: int = UNKNOWN_SAMPLE_CHARACTERS
) -> tuple[int, int]:
    """
    Count the characters that a tokenizer turns into its unknown token: one for a whole word, however long.

    Args:
        documents: Lists of paragraphs.
        tokenizer ([`PreTrainedTokenizerBase`]): One of the tokenizers library; of another nothing is counted.
        sample (`int`, *optional*, defaults to 131072): Characters to look at; the paragraph that reaches them is the last.

    Returns:
        `tuple[int, int]`: characters in unknown tokens, and in all tokens.
    """
    if not tokenizer.is_fast or tokenizer.unk_token_id is None:
        return 0, 0
    texts: list[str] = []
    for text in (paragraph for document in documents for paragraph in document):
        texts.append(text)
        sample -= len(text)
        if sample <= 0:
            break
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    unknown, total, unknown_id = 0, 0, tokenizer.unk_token_id
    for encoding in backend.encode_batch(texts, add_special_tokens=False):
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            total += end - start
            unknown += end - start if token_id == unknown_id else 0
    return unknown, total


def pack_documents(
    documents: Sequence[Document],
    row_length: int,
    cls_token_id: int,
    sep_token_id: int,
    rng: random.Random | None = None,
    counts: Counter | None = None,
) -> Iterator[Row]:
    r"""
    Put documents side by side into rows, no token lost; every piece begins with `[CLS]` and ends with `[SEP]`.

    A document longer than a row is cut into full rows and a rest. Whole documents and rests, the longest first, each go into
    the fullest row with room for them. The documents of rows that stay emptier than 2 % are then laid one after the other and
    cut where a row ends, but never into pieces of less than 8 tokens of text, or an eighth of the row if that is less.

    Args:
        documents: Token ids of each document, in parts of any length. All are held in memory: this is the window.
        row_length (`int`): Tokens in a row, special ones included, at least 3.
        cls_token_id, sep_token_id (`int`): Around each piece.
        rng: Not used: the rule draws nothing.
        counts (`collections.Counter`, *optional*): `"documents_cut"` grows by the documents that fit a row and were cut.

    Yields:
        `dict`: `input_ids` (`np.ndarray` of up to `row_length` ids) and `document_lengths` (`list[int]`, in tokens, special ones
        included), which sum up to its length.

    Example:

    >>> documents = [[np.arange(10, 17)], [np.array([20, 21])], [np.array([30])]]
    >>> for row in pack_documents(documents, row_length=7, cls_token_id=2, sep_token_id=3):
    ...     print(row["input_ids"].tolist(), row["document_lengths"])
    [2, 10, 11, 12, 13, 14, 3] [7]
    [2, 20, 21, 3, 2, 30, 3] [4, 3]
    [2, 15, 16, 3] [4]
    """
    room = row_length - 2
    least = max(1, min(MIN_PIECE_TOKENS, row_length // 8))
    texts = [np.concatenate(document) if document else np.empty(0, np.int32) for document in documents]
    full: list[tuple[int, int, int]] = []
    short: list[tuple[int, int, int]] = []
    for number, text in enumerate(texts):
        start = 0
        while len(text) - start > room:
            # the last full piece leaves enough for the rest to be one
            stop = min(start + room, len(text) - least)
            (full if stop - start == room else short).append((number, start, stop))
            start = stop
        if len(text) > start:
            (full if len(text) - start == room else short).append((number, start, len(text)))

    rows = [[piece] for piece in full]
    packed, loose = _best_fit(short, row_length)
    rows += packed
    rows += _cut_to_fill(loose, row_length, least)
    if counts is not None:
        pieces = Counter(number for row in rows for number, _, _ in row)
        counts["documents_cut"] += sum(pieces[number] > 1 and len(texts[number]) <= room for number in pieces)
    for row in rows:
        parts = [
            part for number, start, stop in row for part in ([cls_token_id], texts[number][start:stop], [sep_token_id])
        ]
        yield {
            "input_ids": np.concatenate(parts, dtype=np.int32),
            "document_lengths": [stop - start + 2 for _, start, stop in row],
        }


def _best_fit(pieces: list[tuple[int, int, int]], row_length: int) -> tuple[list, list]:
    """Pack pieces `(document, start, stop)`; return the rows filled to 98 % or more, and the pieces of all others."""
    by_room: list[list[list]] = [[] for _ in range(row_length + 1)]
    open_rooms = 0  # bit r is set where a row has room for r tokens: the smallest that is enough is found in one step
    for piece in sorted(pieces, key=lambda piece: piece[1] - piece[2]):
        length = piece[2] - piece[1] + 2
        enough = open_rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                open_rooms ^= 1 << room
        else:
            room, row = row_length, []
        row.append(piece)
        by_room[room - length].append(row)
        open_rooms |= 1 << (room - length)
    kept = int(MAX_ROOM_FRACTION * row_length)
    packed = [row for rows in by_room[: kept + 1] for row in rows]
    loose = sorted(piece for rows in by_room[kept + 1 :] for row in rows for piece in row)
    return packed, loose


def _cut_to_fill(pieces: list[tuple[int, int, int]], row_length: int, least: int) -> list[list]:
    """Lay pieces one after the other, cut where a row ends."""
    rows: list[list] = []
    room = 0
    for number, start, stop in pieces:
        while start < stop:
            size = min(room - 2, stop - start)
            if size < stop - start:
                size = min(size, stop - start - least)  # the rest has to be a piece too
            if size < min(least, stop - start):
                rows.append([])
                room = row_length
                continue
            rows[-1].append((number, start, start + size))
            start += size
            room -= size + 2
    return rows


def document_numbers(document_lengths: Sequence[int]) -> list[int]:
    """
    Return for each token of a row the number of its document within the row.

    Example:

    >>> document_numbers([3, 2])
    [0, 0, 0, 1, 1]
    """
    return [number for number, length in enumerate(document_lengths) for _ in range(length)]


def pair_sentences(
    documents: Sequence[Document],
    row_length: int,
    cls_token_id: int,
    sep_token_id: int,
    rng: random.Random | None = None,
    counts: Counter | None = None,
) -> Iterator[Row]:
    r"""
    Make the original's rows: one or two segments of following sentences, `[CLS] A [SEP] B [SEP]`, never across documents.

    Sentences are gathered up to a target of `row_length` tokens, or, one time in twenty, of a random one from 5. One time in
    ten they all make segment A; else A takes sentences up to half the target (or half the time one more), B the others. What
    is longer than the row is cut off. There is no label that says how the segments belong together.

    Args:
        documents: Token ids of each document, in sentences.
        row_length (`int`): Tokens in a row, special ones included, at least 5.
        cls_token_id, sep_token_id (`int`): Around the segments.
        rng (`random.Random`, *optional*): Source of the draws. `None` starts one from 0.
        counts (`collections.Counter`, *optional*): `"tokens_cut_off"` grows by the tokens that fitted no row.

    Yields:
        `dict`: `input_ids` (`np.ndarray` of up to `row_length` ids) and `token_type_ids` (`np.ndarray`, 1 for segment B).

    Source: google-research/electra, `build_pretraining_dataset.py`, class `ExampleBuilder`. It takes lines for sentences.
    """
    rng = rng or random.Random(0)
    target = row_length
    for document in documents:
        gathered: list[np.ndarray] = []
        size = 0
        for number, sentence in enumerate(document):
            gathered.append(sentence)
            size += len(sentence)
            if size < target and number + 1 < len(document):
                continue
            first, second = _segments(gathered, target, rng)
            first = first[: row_length - 2]
            second = second[: max(0, row_length - len(first) - 3)]
            if counts is not None:
                counts["tokens_cut_off"] += size - len(first) - len(second)
            yield _pair(first, second, cls_token_id, sep_token_id)
            gathered, size = [], 0
            target = rng.randint(5, row_length) if rng.random() < 0.05 else row_length


def _segments(sentences: list[np.ndarray], target: int, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    # a tenth of the rows have one segment, as the texts of many tasks do
    wanted = 100_000 if rng.random() < 0.1 else (target - 3) // 2
    segments: tuple[list, list] = ([], [])
    sizes = [0, 0]
    for sentence in sentences:
        # as in the original, a short sentence may still join A when B has begun
        fits = sizes[0] == 0 or sizes[0] + len(sentence) < wanted
        chosen = 0 if fits or (sizes[1] == 0 and sizes[0] < wanted and rng.random() < 0.5) else 1
        segments[chosen].append(sentence)
        sizes[chosen] += len(sentence)
    empty = np.empty(0, np.int32)
    return tuple(np.concatenate(segment) if segment else empty for segment in segments)


def _pair(first: np.ndarray, second: np.ndarray, cls_token_id: int, sep_token_id: int) -> Row:
    parts = [[cls_token_id], first, [sep_token_id]]
    if len(second):
        parts += [second, [sep_token_id]]
    input_ids = np.concatenate(parts, dtype=np.int32)
    token_type_ids = np.zeros(len(input_ids), np.uint8)
    token_type_ids[len(first) + 2 :] = 1
    return {"input_ids": input_ids, "token_type_ids": token_type_ids}


@dataclass(frozen=True)
class RowRule:
    """
    A way to make rows.

    Args:
        make_rows (`Callable`): Takes what [`pack_documents`] takes.
        by_sentence (`bool`): Whether documents come in sentences or in paragraphs.
        columns (`dict[str, str]`): What a row stores besides `input_ids`, with the types of the numbers.
        least_row_length (`int`): Tokens in the shortest row that makes sense.
        prepared (`bool`): Whether rows are written to disk, or made while training.
    """

    make_rows: Callable[..., Iterator[Row]]
    by_sentence: bool
    columns: dict[str, str]
    least_row_length: int
    prepared: bool = True


RULES = {
    "documents": RowRule(pack_documents, by_sentence=False, columns={"document_lengths": "int32"}, least_row_length=3),
    "sentences": RowRule(pair_sentences, by_sentence=True, columns={"token_type_ids": "uint8"}, least_row_length=5),
    "stream": RowRule(
        pack_documents, by_sentence=False, columns={"document_lengths": "int32"}, least_row_length=3, prepared=False
    ),
}
