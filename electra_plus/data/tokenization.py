"""Tokenizers: train a WordPiece one on a corpus, or take one that exists."""

import logging
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Names of characters whose marks BERT strips and leaves words that readers still know, and of the selectors behind emoji. In other
# scripts marks are vowels and tones, and make other consonants.
WITHOUT_DAMAGE = ("LATIN", "GREEK", "CYRILLIC", "COMBINING", "VARIATION SELECTOR")
# Of the characters of a corpus: with more of them that stripping would damage, marks are kept. Less are quotations.
MAX_DAMAGED_FRACTION = 0.001


def train_wordpiece_tokenizer(
    texts: Iterable[str],
    vocab_size: int = 30522,
    lowercase: bool = True,
    min_frequency: int = 2,
    model_max_length: int = 512,
    show_progress: bool = False,
) -> BertTokenizer:
    r"""
    Train a WordPiece tokenizer with BERT's text rules; Chinese characters stand alone, so both languages work.

    The special tokens get the ids 0 to 4: `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`.

    Args:
        texts (`Iterable[str]`):
            The corpus, in pieces of any length. It is read twice; an iterator, which cannot be, is kept in memory. The same texts
            give the same vocabulary.
        vocab_size (`int`, *optional*, defaults to 30522): Tokens at most, special ones included; a small corpus gives fewer.
        lowercase (`bool`, *optional*, defaults to `True`):
            Lower-case, and strip accents as BERT does. They are kept, and it is said, where stripping would damage more than one
            in a thousand characters: it takes vowels from Hindi, tones from Thai, voicing from Japanese, and Korean to pieces.
        min_frequency (`int`, *optional*, defaults to 2): How often a pair must occur to be merged.
        model_max_length (`int`, *optional*, defaults to 512): What `truncation=True` cuts to, in tokens.
        show_progress (`bool`, *optional*, defaults to `False`): Show the trainer's progress bar.

    Returns:
        [`~transformers.BertTokenizer`]: saved by `save_pretrained`, opened by `AutoTokenizer`.

    Raises:
        ValueError: `vocab_size` leaves no room for a single letter, or the corpus is empty.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if vocab_size <= len(SPECIAL_TOKENS):
        raise ValueError(f"`vocab_size` must exceed the {len(SPECIAL_TOKENS)} special tokens, got {vocab_size}.")
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = list(texts) if isinstance(texts, Iterator) else texts
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
    # the only choice that a saved BertTokenizer keeps: it makes its own normalizer, whatever tokenizer.json says
    strip_accents = False if lowercase and _marks_are_letters(characters) else None
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    # a corpus with more characters than this (Chinese) keeps its most frequent ones
    room = max(1, int(0.9 * (vocab_size - len(SPECIAL_TOKENS))))
    alphabet, inner = _alphabet(characters, backend.normalizer, room)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # The trainer numbers what stands inside words in an order that differs from process to process, and breaks ties by
        # number. Given beforehand, the same texts give the same vocabulary.
        special_tokens=[*SPECIAL_TOKENS, *(f"##{character}" for character in inner)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=show_progress,
    )
    backend.train_from_iterator(texts, trainer)
    vocabulary = backend.get_vocab()
    if len(vocabulary) <= len(SPECIAL_TOKENS):
        raise ValueError("`texts` holds no words. Check that the corpus is not empty.")
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    return BertTokenizer(
        vocab=ordered, do_lower_case=lowercase, strip_accents=strip_accents, model_max_length=model_max_length
    )


def _marks_are_letters(characters: Counter[str]) -> bool:
    """Say whether stripping accents would damage a corpus of these characters; log of which script they are."""
    damaged: Counter[str] = Counter()
    for character, count in characters.items():
        if (script := _script_damaged(character)) is not None:
            damaged[script] += count
    fraction = damaged.total() / max(1, characters.total())
    if fraction <= MAX_DAMAGED_FRACTION:
        return False
    logger.warning(
        "tokenizer: lower-cases and keeps accents: stripping them would damage %.1f %% of the characters, most of them %s",
        100 * fraction, damaged.most_common(1)[0][0].capitalize(),
    )  # fmt: skip
    return True


def _script_damaged(character: str) -> str | None:
    r"""
    Return the script of a character that stripping accents damages, else `None`.

    >>> [_script_damaged(character) for character in ("é", "й", "我", "か")]
    [None, None, None, None]
    >>> [_script_damaged(character) for character in ("ु", "が", "한")]
    ['DEVANAGARI', 'HIRAGANA', 'HANGUL']
    """
    parts = unicodedata.normalize("NFD", character)  # what is stripped are the nonspacing marks of this
    name = unicodedata.name(parts[0], "").removeprefix("COMBINING KATAKANA-")
    changes = any(unicodedata.category(part) == "Mn" for part in parts) or (
        name.startswith("HANGUL") and len(parts) > 1
    )
    is_text = unicodedata.category(character)[0] in "LM" and not name.startswith(WITHOUT_DAMAGE)
    return name.partition(" ")[0] if changes and is_text else None


def _alphabet(characters: Counter[str], normalizer, room: int) -> tuple[list[str], list[str]]:
    """Return the characters of a corpus that find room, the most frequent first, and those of them that stand inside words."""
    counts: Counter[str] = Counter()
    alone: set[str] = set()  # what BERT's rules make a word of its own: Chinese characters and punctuation
    for character, count in characters.items():
        normal = normalizer.normalize_str(character)
        for part in normal.replace(" ", ""):
            counts[part] += count
            if normal.startswith(" ") or part in string.punctuation or unicodedata.category(part).startswith("P"):
                alone.add(part)
    alphabet: list[str] = []
    inner: list[str] = []
    for character in sorted(counts, key=lambda character: (-counts[character], character)):
        if len(alphabet) + len(inner) + 1 + (character not in alone) > room and alphabet:
            break
        alphabet.append(character)
        if character not in alone:
            inner.append(character)
    return alphabet, inner


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """
    Open a tokenizer: a folder or Hub name for `AutoTokenizer`, or a plain BERT `vocab.txt`.

    A `vocab.txt` is taken as lower-casing if no word in it has a capital letter.

    Raises:
        ValueError: A file that is no BERT vocabulary.
    """
    file = Path(path)
    if not file.is_file():
        return AutoTokenizer.from_pretrained(str(path))
    tokens = file.read_text(encoding="utf-8").split("\n")
    tokens = [token.rstrip("\r") for token in (tokens[:-1] if tokens[-1] == "" else tokens)]
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise ValueError(
            f"`{file}` is no BERT vocabulary: it has no {missing}. Give one token a line, or a tokenizer folder."
        )
    words = (token.removeprefix("##") for token in tokens)
    cased = any(word.isalpha() and word != word.lower() for word in words)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=not cased, model_max_length=512)
