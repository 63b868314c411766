"""More training examples from a setting: which change, how many copies, and what it needs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_plus.data.augmentation import AUGMENTATIONS, MaskedLMSubstitution, augmented
from electra_plus.data.example_files import Row

MASKED_LM = "masked-lm"


@dataclass
class Augmentation:
    """
    Changed copies of the training rows, see [`electra_plus.data.augmentation`].

    Args:
        how (`str`): `delete`, `swap`, `synonyms` or `masked-lm`.
        copies (`int`, *optional*, defaults to 1): Of each row.
        rate (`float`, *optional*, defaults to 0.1): Fraction of the words to change, in (0, 1).
        seed (`int`, *optional*, defaults to 0): Of the draws.
        synonyms (`str`, *optional*): For `synonyms`, a json file with a list of words for each word.
        model (`str`, *optional*): For `masked-lm`, folder or Hub name of a masked LM or a joint checkpoint.
    """

    how: str
    copies: int = 1
    rate: float = 0.1
    seed: int = 0
    synonyms: str | None = None
    model: str | None = None

    def __post_init__(self):
        known = [*AUGMENTATIONS, MASKED_LM]
        if self.how not in known:
            raise ValueError(f"`augment` must have `how` as one of {known}, got {self.how!r}.")
        for name, of in (("synonyms", "synonyms"), ("model", MASKED_LM)):
            if (getattr(self, name) is not None) != (self.how == of):
                raise ValueError(
                    f"`augment` must have `{name}` with `how: {of}` and with no other, got `how: {self.how}`."
                )

    def __call__(self, examples: Sequence[Row]) -> list[Row]:
        """Return the examples and, behind them, their changed copies."""
        if "text" not in examples[0]:
            raise ValueError(
                f"`augment` is for tasks of whole texts, got the fields {list(examples[0])}. Leave it out."
            )
        options: dict[str, Any] = {"synonyms": read_synonyms(self.synonyms)} if self.synonyms is not None else {}
        how = self._substitution() if self.model is not None else self.how
        copies = augmented(examples, how, self.copies, self.rate, self.seed, **options)
        return [*examples, *(Row(copy, "a changed copy") for copy in copies)]

    def _substitution(self) -> MaskedLMSubstitution:
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        return MaskedLMSubstitution(
            AutoModelForMaskedLM.from_pretrained(self.model), AutoTokenizer.from_pretrained(self.model)
        )


def make_augmentation(given: Mapping[str, Any]) -> Augmentation:
    """
    Return what a setting asks for.

    Raises:
        ValueError: A name that there is not, or `how` is missing.
    """
    known = list(Augmentation.__dataclass_fields__)
    wrong = [name for name in given if name not in known]
    if wrong or "how" not in given:
        raise ValueError(f"`augment` must have `how`, and else of {known}, got {list(given)}.")
    return Augmentation(**given)


def read_synonyms(file: str) -> dict[str, list[str]]:
    """
    Read a json file such as `{"good": ["fine", "nice"]}`.

    Raises:
        OSError: There is no such file.
        ValueError: It holds something else.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{file}` is no json: {error}.") from None
    if not isinstance(found, dict) or not all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in found.values()
    ):
        raise ValueError(f'`{file}` must hold a list of words for each word, such as {{"good": ["fine"]}}.')
    return {word.lower(): words for word, words in found.items()}
