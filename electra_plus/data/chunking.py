"""Long texts as chunks of whole sentences, English and Chinese, each chunk with the characters it covers."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedTokenizerBase

from electra_plus.data.packing import labels_of_documents

if TYPE_CHECKING:
    from tokenizers import Encoding

CLOSING = "\"'”’」』）)\\]»"
# A Latin full stop needs a space and no small letter after it; a Chinese one ends a sentence wherever it stands.
BOUNDARY = re.compile(rf"[.!?…]+[{CLOSING}]*(?=\s+[^a-z\s])|[。！？；]+[…{CLOSING}]*|…{{2,}}[{CLOSING}]*|\n+")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# What a full stop after does not end: titles, initials, and the commonest abbreviations.
ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Gen|Col|Capt|Sgt|Rev|Hon|vs|No|Fig|Inc|Co|Ltd|cf|e\.g|i\.e|U\.S|a\.m|p\.m)\.$"
)


def without_surrogates(text: str) -> str:
    """
    Return the text as tokenizers take it: a lone surrogate, which UTF-8 cannot hold, becomes U+FFFD; lengths stay.

    Example:

    >>> without_surrogates("a\\ud83d b") == "a\ufffd b"
    True
    """
    return LONE_SURROGATE.sub("\ufffd", text)


def encode_texts(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list["Encoding"]:
    """
    Tokenise texts together, without special tokens: it takes a fraction of the time that they take one by one.

    Returns:
        `list[tokenizers.Encoding]`: with `ids`, `offsets` (characters) and `word_ids`.
    """
    _refuse_slow(tokenizer)
    if not texts:
        return []
    return tokenizer(
        [without_surrogates(text) for text in texts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    ).encodings


def _refuse_slow(tokenizer: PreTrainedTokenizerBase) -> None:
    if not tokenizer.is_fast:
        raise ValueError("`tokenizer` must be a fast one (tokenizers library): others do not say where a token stands.")


def tokens_around(tokenizer: PreTrainedTokenizerBase, question: str | None = None) -> tuple[list[int], list[int]]:
    """Return the ids that stand before a text, with those of a question, and after it: `[CLS] question [SEP]` and `[SEP]`."""
    _refuse_slow(tokenizer)
    texts = ("a",) if question is None else (without_surrogates(question), "a")
    encoded = tokenizer(*texts, verbose=False)
    of_text = [place for place, number in enumerate(encoded.sequence_ids()) if number == len(texts) - 1]
    return encoded["input_ids"][: of_text[0]], encoded["input_ids"][of_text[-1] + 1 :]


def split_sentences(text: str) -> list[tuple[int, int]]:
    """
    Return where each sentence begins and ends, in characters; white space around sentences belongs to none.

    Args:
        text (`str`): English, Chinese, or both.

    Example:

    >>> text = 'Dr. Wu came at 3.30 p.m. today. “Late!” she said. 我很喜欢这本书。真的！'
    >>> [text[start:end] for start, end in split_sentences(text)]
    ['Dr. Wu came at 3.30 p.m. today.', '“Late!” she said.', '我很喜欢这本书。', '真的！']
    """
    spans = []
    start = 0
    for match in BOUNDARY.finditer(text):
        # only the end of the sentence so far: a look back over all of it would make long texts quadratic
        if match[0] == "." and ABBREVIATION.search(text[max(start, match.end() - 12) : match.end()]):
            continue
        spans.append((start, match.end()))
        start = match.end()
    spans.append((start, len(text)))
    stripped = []
    for start, end in spans:
        sentence = text[start:end]
        begin = start + len(sentence) - len(sentence.lstrip())
        if sentence.strip():
            stripped.append((begin, begin + len(sentence.strip())))
    return stripped


@dataclass(frozen=True)
class Chunk:
    """
    A piece of a text, on its own or after a question.

    Args:
        input_ids (`list[int]`): Token ids, `[CLS]` and `[SEP]` included.
        offsets (`list[tuple[int, int]]`):
            Characters of the text that each token covers; `(0, 0)` for special tokens and those of a question.
        text_tokens (`range`): Where the text stands in `input_ids`.
        first_token (`int`, *optional*, defaults to 0): Which token of the whole text comes first.
    """

    input_ids: list[int]
    offsets: list[tuple[int, int]]
    text_tokens: range
    first_token: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """Characters of the text that the chunk covers."""
        if not self.text_tokens:
            return 0, 0
        return self.offsets[self.text_tokens[0]][0], self.offsets[self.text_tokens[-1]][1]

    @property
    def token_type_ids(self) -> list[int]:
        """Segment ids: 1 for a text that follows a question and for its `[SEP]`, else 0."""
        first = self.text_tokens.start
        return [int(1 < first <= index) for index in range(len(self.input_ids))]


def chunk_text(
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    chunk_length: int,
    overlap: int = 0,
    question: str | None = None,
) -> list[Chunk]:
    r"""
    Cut a text into chunks of whole sentences, as many as fit; a sentence longer than a chunk is cut where it must be.

    Args:
        text (`str`): Of any length. Without a token it gives one chunk of special tokens.
        tokenizer ([`PreTrainedTokenizerBase`]): A fast one.
        chunk_length (`int`): Most tokens of a chunk, special ones and the question's included.
        overlap (`int`, *optional*, defaults to 0):
            Most tokens of whole sentences that a chunk repeats from the end of the one before; less than the room for text.
        question (`str`, *optional*): Stands before the text in every chunk: `[CLS] question [SEP] text [SEP]`.

    Returns:
        `list[Chunk]`

    Raises:
        ValueError: `chunk_length` or `overlap` is out of range, or the tokenizer gives no character offsets.
    """
    (encoding,) = encode_texts([text], tokenizer)
    return chunk_encoding(text, encoding, tokens_around(tokenizer, question), chunk_length, overlap)


def chunk_encoding(
    text: str, encoding: "Encoding", around: tuple[list[int], list[int]], chunk_length: int, overlap: int = 0
) -> list[Chunk]:
    """The same for a text that [`encode_texts`] tokenised; `around` is what [`tokens_around`] returns."""
    prefix, suffix = around
    room = chunk_length - len(prefix) - len(suffix)
    if room < 1:
        least = f"{len(prefix) + len(suffix) + 1} tokens"
        least += ", two more than `question` with its special ones" if len(prefix) > 1 else ""
        raise ValueError(f"`chunk_length` must be at least {least}, got {chunk_length}.")
    if not 0 <= overlap < room:
        raise ValueError(
            f"`overlap` must be in [0, {room}), less than the text in a chunk of {chunk_length} tokens, got {overlap}."
        )
    ids, offsets = encoding.ids, encoding.offsets
    ranges = [(0, len(ids))] if len(ids) <= room else _ranges_of_sentences(text, offsets, room, overlap)
    return [
        Chunk(
            [*prefix, *ids[begin:end], *suffix],
            [*[(0, 0)] * len(prefix), *offsets[begin:end], *[(0, 0)] * len(suffix)],
            range(len(prefix), len(prefix) + end - begin),
            begin,
        )
        for begin, end in ranges
    ]


def _ranges_of_sentences(text: str, offsets: list[tuple[int, int]], room: int, overlap: int) -> list[tuple[int, int]]:
    """Return the tokens of each chunk, as first and last (exclusive), of a text with more than `room` tokens."""
    starts = [start for start, _ in offsets]
    # sentences as ranges of tokens, none longer than a chunk
    borders = sorted({0, len(offsets), *(bisect_left(starts, start) for start, _ in split_sentences(text))})
    pieces = [
        (begin, min(begin + room, end))
        for first, end in zip(borders, borders[1:], strict=False)
        for begin in range(first, end, room)
    ]

    ranges: list[tuple[int, int]] = []
    number = 0
    while number < len(pieces):
        first = last = number
        if ranges:
            size_of_next = pieces[number][1] - pieces[number][0]
            while first and pieces[number][0] - pieces[first - 1][0] <= min(overlap, room - size_of_next):
                first -= 1
        while last < len(pieces) and pieces[last][1] - pieces[first][0] <= room:
            last += 1
        ranges.append((pieces[first][0], pieces[last - 1][1]))
        number = last
    return ranges


def chunked_row(chunks: Sequence[Chunk]) -> dict[str, list[int]]:
    """Return the chunks of a text as one row for `ElectraPlusForLongSequenceClassification`: `input_ids`, `chunk_ids`."""
    return {
        "input_ids": [token for chunk in chunks for token in chunk.input_ids],
        "chunk_ids": [number for number, chunk in enumerate(chunks) for _ in chunk.input_ids],
    }


@dataclass
class DataCollatorForLongText:
    """
    Pads rows of chunks, as [`chunked_row`] makes them, to the longest of a batch.

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]): Its `pad_token_id` fills up rows.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(feature["input_ids"]) for feature in features)

        def padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
            return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])

        batch = {
            "input_ids": padded([feature["input_ids"] for feature in features], self.tokenizer.pad_token_id),
            "attention_mask": padded([[1] * len(feature["input_ids"]) for feature in features], 0),
            "chunk_ids": padded([feature["chunk_ids"] for feature in features], 0),
        }
        return {**batch, **labels_of_documents(features)}
