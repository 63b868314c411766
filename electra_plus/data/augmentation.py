"""
More training examples from the ones there are: words left out, moved, or replaced, by a list or by a masked LM.

Labels are taken over, so a change must not change them; [`keep_sure`] leaves out what a classifier no longer knows. Nothing here is
done unless it is asked for. The changes of an example follow from the seed, its number and the number of the copy alone. What is
changed in the vectors instead of the texts is [`electra_plus.training.mixup.SentenceMixup`].
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.masking import hashed_seed

# A character of a script without spaces is a word; elsewhere words are what spaces part, without the marks around them.
WORD = re.compile(
    r"[\u3400-\u9fff\u3040-\u30ff]|[^\W\u3400-\u9fff\u3040-\u30ff]+(?:['’-][^\W\u3400-\u9fff\u3040-\u30ff]+)*"
)
BATCH_ROWS = 32  # of the masked LM


def word_spans(text: str) -> list[tuple[int, int]]:
    """
    Return where the words of a text begin and end, in characters.

    >>> [("It's so-so, 很好!")[start:end] for start, end in word_spans("It's so-so, 很好!")]
    ["It's", 'so-so', '很', '好']
    """
    return [match.span() for match in WORD.finditer(text)]


def with_replaced(text: str, spans: Sequence[tuple[int, int]], words: Sequence[str]) -> str:
    """Return a text in which other words stand at spans, which are in order and do not overlap."""
    parts, end_before = [], 0
    for (start, end), word in zip(spans, words, strict=True):
        parts += [text[end_before:start], word]
        end_before = end
    return "".join([*parts, text[end_before:]])


def _number_to_change(num_words: int, rate: float) -> int:
    """At least one, so that a copy of a short text differs too."""
    return min(num_words, max(1, round(rate * num_words)))


def delete_words(text: str, rate: float, rng: random.Random) -> str:
    """
    Leave out words, with the space before them; one stays at least.

    Args:
        text (`str`): Of any length.
        rate (`float`): Fraction of the words, in (0, 1); one word at least.
        rng (`random.Random`): Source of randomness.

    Source: Wei and Zou 2019 (EDA), https://arxiv.org/abs/1901.11196, section 2; there each word is drawn for itself.
    """
    spans = word_spans(text)
    chosen = sorted(rng.sample(range(len(spans)), min(_number_to_change(len(spans), rate), max(0, len(spans) - 1))))
    wider = []
    for start, end in (spans[index] for index in chosen):
        before = len(text[:start].rstrip())
        wider.append((start if before == 0 else before, end))
    return with_replaced(text, wider, [""] * len(wider)).strip()


def swap_words(text: str, rate: float, rng: random.Random) -> str:
    """
    Exchange words two by two; spaces and marks stay where they are.

    Args:
        text, rate, rng: As for [`delete_words`]; the rate is of the words that move.

    Source: Wei and Zou 2019, section 2.
    """
    spans = word_spans(text)
    words = [text[start:end] for start, end in spans]
    if len(words) > 1:
        for _ in range(max(1, _number_to_change(len(words), rate) // 2)):
            first, second = rng.sample(range(len(words)), 2)
            words[first], words[second] = words[second], words[first]
    return with_replaced(text, spans, words)


def replace_by_list(text: str, rate: float, rng: random.Random, synonyms: Mapping[str, Sequence[str]]) -> str:
    """
    Put one of the words a list has in the place of a word; what the list does not know stays.

    Args:
        text, rate, rng: As for [`delete_words`]; the rate is of all words, as far as the list knows so many.
        synonyms (`Mapping`): Words, in small letters, and what may stand for each.

    Source: Wei and Zou 2019, section 2, with WordNet as the list.

    Example:

    >>> replace_by_list("Good book.", 0.5, random.Random(0), {"good": ["fine"]})
    'Fine book.'
    """
    known = [(start, end) for start, end in word_spans(text) if synonyms.get(text[start:end].lower())]
    wanted = _number_to_change(len(word_spans(text)), rate)
    spans = sorted(rng.sample(known, min(wanted, len(known))))
    words = [_as_written(text[start:end], rng.choice(list(synonyms[text[start:end].lower()]))) for start, end in spans]
    return with_replaced(text, spans, words)


def _as_written(old: str, new: str) -> str:
    """
    Write a word with the capitals of the one it stands for.

    >>> _as_written("Good", "fine"), _as_written("GOOD", "fine"), _as_written("good", "fine")
    ('Fine', 'FINE', 'fine')
    """
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


@dataclass
class MaskedLMSubstitution:
    r"""
    Replace words by what a masked LM, such as ELECTRA's own generator, draws for them: what discriminators were pretrained on.

    Only words of one token are masked, and only such words are drawn, so that the text around them stays as it was written.

    Args:
        model ([`PreTrainedModel`]): A masked LM.
        tokenizer ([`PreTrainedTokenizerBase`]): Of the model, a fast one.
        temperature (`float`, *optional*, defaults to 1.0): Divisor of its scores, > 0. Lower takes likelier words.
        synonyms (`Mapping`, *optional*):
            As for [`replace_by_list`]. Words that the list knows are replaced by it, and the model draws for others: a list that
            backs off.

    Raises:
        ValueError: A tokenizer that does not say where its tokens stand, or without a mask token.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    temperature: float = 1.0
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _never: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self):
        if not self.tokenizer.is_fast or self.tokenizer.mask_token_id is None:
            raise ValueError(
                "`tokenizer` must be a fast one with a mask token, to know where its tokens stand in the text."
            )
        if self.temperature <= 0:
            raise ValueError(f"`temperature` must be > 0, got {self.temperature}.")
        special = set(self.tokenizer.all_special_ids)
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        whole = [
            token is not None and number not in special and word_spans(token) == [(0, len(token))]
            for number, token in enumerate(tokens)
        ]
        self._never = ~torch.tensor(whole)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], rate: float, rngs: Sequence[random.Random]) -> list[str]:
        """
        Return each text with other words in it.

        Args:
            texts (`Sequence[str]`): What lies beyond the model's longest row stays as it is.
            rate (`float`): Fraction of the words, in (0, 1).
            rngs (`Sequence[random.Random]`): One for each text.
        """
        self.model.eval()
        found = list(texts)
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))  # rows of like length share a batch
        for first in range(0, len(order), BATCH_ROWS):
            some = order[first : first + BATCH_ROWS]
            for index, text in zip(
                some, self._batch([texts[i] for i in some], rate, [rngs[i] for i in some]), strict=True
            ):
                found[index] = text
        return found

    def _batch(self, texts: list[str], rate: float, rngs: list[random.Random]) -> list[str]:
        longest = min(
            self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", None) or 512
        )
        batch = self.tokenizer(
            texts, truncation=True, max_length=longest, padding=True, return_tensors="pt", return_offsets_mapping=True
        )
        offsets = batch.pop("offset_mapping").tolist()
        listed: list[dict[tuple[int, int], str]] = []  # of each text: span and word of the list
        drawn_at: list[list[tuple[int, tuple[int, int]]]] = []  # of each text: token and span
        for row, text in enumerate(texts):
            tokens = {tuple(span): place for place, span in enumerate(offsets[row]) if span[0] < span[1]}
            words = word_spans(text)
            known = {span: found for span in words if (found := self.synonyms.get(text[slice(*span)].lower()))}
            candidates = [span for span in words if span in tokens or span in known]
            chosen = sorted(rngs[row].sample(candidates, min(_number_to_change(len(words), rate), len(candidates))))
            listed.append({span: rngs[row].choice(list(known[span])) for span in chosen if span in known})
            drawn_at.append([(tokens[span], span) for span in chosen if span not in known])
        drawn = self._drawn(batch, drawn_at, rngs)
        changed = []
        for text, by_list, places in zip(texts, listed, drawn_at, strict=True):
            found = {**by_list, **{span: next(drawn) for _, span in places}}
            spans = sorted(found)
            changed.append(with_replaced(text, spans, [_as_written(text[slice(*span)], found[span]) for span in spans]))
        return changed

    def _drawn(
        self, batch: BatchEncoding, drawn_at: list[list[tuple[int, tuple[int, int]]]], rngs: list[random.Random]
    ) -> Iterator[str]:
        """Yield the model's word for each place of each text, all of them masked at once."""
        rows = torch.tensor([row for row, places in enumerate(drawn_at) for _ in places], dtype=torch.long)
        places = torch.tensor([place for places in drawn_at for place, _ in places], dtype=torch.long)
        if not len(rows):
            return iter(())
        original = batch["input_ids"][rows, places]
        batch["input_ids"][rows, places] = self.tokenizer.mask_token_id
        logits = self.model(**batch.to(self.model.device)).logits[rows, places].float().cpu()
        scores = (logits[:, : len(self._never)] / self.temperature).masked_fill(self._never, float("-inf"))
        scores = scores.scatter(1, original[:, None], float("-inf"))
        # one source a text, so that a text's words do not depend on its neighbours
        draws = torch.tensor([rngs[row].random() for row in rows.tolist()], dtype=torch.float64)[:, None]
        cumulative = scores.double().softmax(dim=-1).cumsum(dim=-1)
        drawn = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True).clamp(max=scores.shape[1] - 1)
        return iter(self.tokenizer.convert_ids_to_tokens(drawn.squeeze(1).tolist()))


def _each(change: Callable[..., str]) -> Callable[..., list[str]]:
    def changed(texts: Sequence[str], rate: float, rngs: Sequence[random.Random], **options) -> list[str]:
        return [change(text, rate, rng, **options) for text, rng in zip(texts, rngs, strict=True)]

    return changed


AUGMENTATIONS: dict[str, Callable[..., list[str]]] = {
    "delete": _each(delete_words),
    "swap": _each(swap_words),
    "synonyms": _each(replace_by_list),
}


def augmented(
    examples: Sequence[Mapping[str, Any]],
    how: str | Callable[[Sequence[str], float, Sequence[random.Random]], list[str]],
    copies: int = 1,
    rate: float = 0.1,
    seed: int = 0,
    fields: Iterable[str] = ("text", "text_pair"),
    **options,
) -> list[dict[str, Any]]:
    r"""
    Return changed copies of examples, without those that came out as an example that is there already.

    Args:
        examples (`Sequence[Mapping]`): Of a task of whole texts, such as [`task_examples`] returns. They stay as they are.
        how (`str` or `Callable`): Key of [`AUGMENTATIONS`], or for instance a [`MaskedLMSubstitution`].
        copies (`int`, *optional*, defaults to 1): Of each example.
        rate (`float`, *optional*, defaults to 0.1): Fraction of the words to change, in (0, 1).
        seed (`int`, *optional*, defaults to 0): Of the draws.
        fields (`Iterable[str]`, *optional*): What holds text; examples that lack one have one text.
        options: Of the change, such as `synonyms`.

    Returns:
        `list[dict]`: the copies, in the order of the examples.

    Raises:
        ValueError: There is no such change, or a number is out of range.

    Example:

    >>> augmented([{"text": "A very good book.", "label": "1"}], "delete", rate=0.25)
    [{'text': 'A good book.', 'label': '1'}]

    Source: Wei and Zou 2019, https://arxiv.org/abs/1901.11196; rates of 0.05 to 0.1 and up to 16 copies helped there where rows
    were few.
    """
    if isinstance(how, str) and how not in AUGMENTATIONS:
        raise ValueError(f"`how` must be one of {list(AUGMENTATIONS)} or a MaskedLMSubstitution, got {how!r}.")
    if not 0 < rate < 1:
        raise ValueError(f"`rate` must be in (0, 1), got {rate}.")
    if copies < 1:
        raise ValueError(f"`copies` must be at least 1, got {copies}.")
    change = AUGMENTATIONS[how] if isinstance(how, str) else how
    fields = tuple(fields)
    known = {_texts_of(example, fields) for example in examples}
    made: list[dict[str, Any]] = [dict(example) for example in examples for _ in range(copies)]
    for name in fields:
        places = [place for place, example in enumerate(made) if isinstance(example.get(name), str)]
        rngs = [random.Random(hashed_seed(f"{seed},{name},{place // copies},{place % copies}")) for place in places]
        for place, text in zip(
            places, change([made[place][name] for place in places], rate, rngs, **options), strict=True
        ):
            made[place][name] = text
    found = []
    for example in made:
        texts = _texts_of(example, fields)
        if texts not in known:
            known.add(texts)
            found.append(example)
    return found


def _texts_of(example: Mapping[str, Any], fields: tuple[str, ...]) -> tuple:
    return tuple(example.get(name) for name in fields)


def keep_sure(
    examples: Sequence[Mapping[str, Any]],
    probabilities: Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, float]]],
    threshold: float = 0.5,
    label: str = "label",
) -> list[Mapping[str, Any]]:
    r"""
    Leave out examples whose label a classifier trained on the originals no longer finds in them.

    Args:
        examples (`Sequence[Mapping]`): Changed copies.
        probabilities (`Callable`): Takes examples, returns the probability of each label by name for each of them.
        threshold (`float`, *optional*, defaults to 0.5): Least probability of the example's own label, in [0, 1].
        label (`str`, *optional*, defaults to `"label"`): Field of the label.

    Example:

    >>> keep_sure([{"text": "good", "label": "1"}, {"text": "bad", "label": "1"}], lambda rows: [{"1": 0.9}, {"1": 0.2}])
    [{'text': 'good', 'label': '1'}]
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be in [0, 1], got {threshold}.")
    scores = probabilities(examples) if examples else []
    return [
        example
        for example, found in zip(examples, scores, strict=True)
        if found.get(str(example[label]), 0.0) >= threshold
    ]
