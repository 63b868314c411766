"""More training examples from a setting: which change, how many copies, which of them stay, and whether sentence vectors are mixed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_plus.data.augmentation import AUGMENTATIONS, MaskedLMSubstitution, augmented, keep_sure
from electra_plus.data.example_files import Row
from electra_plus.recipes.evaluation.loading import load_networks, read_config
from electra_plus.recipes.tasks import TEXT_TASKS, Task

MASKED_LM, SYNONYMS = "masked-lm", "synonyms"


@dataclass
class Augmentation:
    """
    Changed copies of the training rows, see [`electra_plus.data.augmentation`], and mixed sentence vectors; either or both.

    Args:
        how (`str`, *optional*): `delete`, `swap`, `synonyms` or `masked-lm`. `None` makes no copies.
        copies (`int`, *optional*, defaults to 1): Of each row.
        rate (`float`, *optional*, defaults to 0.1): Fraction of the words to change, in (0, 1).
        seed (`int`, *optional*, defaults to 0): Of the draws.
        synonyms (`str` or `list[str]`, *optional*):
            For `synonyms`, a json file with a list of words for each word. Of several files the first that knows a word decides.
        model (`str`, *optional*):
            For `masked-lm`, folder or Hub name of a masked LM or a joint checkpoint. For `synonyms`, it draws for words that no
            list knows; without it they stay.
        keep_sure (`float`, *optional*):
            Least probability, in [0, 1], that `classifier` must give a copy's label; others are left out. `None` keeps all.
        classifier (`str`, *optional*): For `keep_sure`, folder or Hub name of a text classifier, fine-tuned on the rows as they are.
        mixup (`float`, *optional*): Alpha of [`electra_plus.training.mixup.SentenceMixup`], > 0. `None` mixes nothing.
    """

    how: str | None = None
    copies: int = 1
    rate: float = 0.1
    seed: int = 0
    synonyms: str | list[str] | None = None
    model: str | None = None
    keep_sure: float | None = None
    classifier: str | None = None
    mixup: float | None = None

    def __post_init__(self):
        known = [*AUGMENTATIONS, MASKED_LM]
        if self.how is None and self.mixup is None:
            raise ValueError(f"`augment` must have `how` as one of {known}, or `mixup`, got neither.")
        if self.how not in (None, *known):
            hint = " Mixup is `mixup: 0.4`." if self.how == "mixup" else ""
            raise ValueError(f"`augment` must have `how` as one of {known}, got {self.how!r}.{hint}")
        for name, needed, allowed in (
            ("synonyms", SYNONYMS, (SYNONYMS,)),
            ("model", MASKED_LM, (MASKED_LM, SYNONYMS)),
        ):
            given = getattr(self, name) is not None
            if (self.how == needed and not given) or (given and self.how not in allowed):
                raise ValueError(
                    f"`augment` must have `{name}` with `how: {' or '.join(allowed)}` and with no other, got `how: {self.how}`"
                    f"{'' if given else f' without `{name}`'}."
                )
        if (self.keep_sure is None) != (self.classifier is None):
            missing = "classifier" if self.classifier is None else "keep_sure"
            raise ValueError(f"`augment` must have `keep_sure` and `classifier` or neither, got no `{missing}`.")
        if self.keep_sure is not None and (self.how is None or not 0 <= self.keep_sure <= 1):
            raise ValueError(
                f"`keep_sure` must be in [0, 1] and go with `how`, got {self.keep_sure} with `how: {self.how}`."
            )
        if self.mixup is not None and not self.mixup > 0:
            raise ValueError(f"`mixup` must be > 0, got {self.mixup}. It is the alpha of a Beta distribution.")

    def check(self, task: Task) -> None:
        """
        Refuse a task that this is not for.

        Raises:
            ValueError: Mixup for a loss that is not on sentence vectors, or `keep_sure` for labels that are not one of several.
        """
        if self.mixup is not None and task.name not in TEXT_TASKS:
            raise ValueError(
                f"`mixup` mixes sentence vectors, for {', '.join(TEXT_TASKS)}, got {task.name}. Leave it out."
            )
        if self.keep_sure is not None and task.name != TEXT_TASKS[0]:
            raise ValueError(f"`keep_sure` is for {TEXT_TASKS[0]}, got {task.name}. Leave it and `classifier` out.")

    def __call__(self, examples: Sequence[Row]) -> tuple[list[Row], str]:
        """Return the examples and, behind them, their changed copies; and what was done, in words."""
        mixing = [f"sentence vectors are mixed (alpha {self.mixup:g})"] if self.mixup is not None else []
        if self.how is None:
            return list(examples), mixing[0]
        if "text" not in examples[0]:
            raise ValueError(
                f"`augment` is for tasks of whole texts, got the fields {list(examples[0])}. Leave it out."
            )
        copies = [Row(copy, "a changed copy") for copy in self._copies(examples)]
        kept = copies
        if self.keep_sure is not None:
            kept = keep_sure(copies, _probabilities(self.classifier, examples), self.keep_sure)
        remarks = [f"{len(kept):,} changed copies"]
        if self.keep_sure is not None:
            remarks.append(
                f"{len(copies) - len(kept):,} left out, to whose label {self.classifier} gives less than {self.keep_sure:g}"
            )
        return [*examples, *kept], "; ".join(remarks + mixing)

    def _copies(self, examples: Sequence[Row]) -> list[dict[str, Any]]:
        synonyms = read_synonyms(self.synonyms) if self.synonyms is not None else {}
        if self.model is not None:
            return augmented(examples, self._substitution(synonyms), self.copies, self.rate, self.seed)
        options = {"synonyms": synonyms} if self.synonyms is not None else {}
        return augmented(examples, self.how, self.copies, self.rate, self.seed, **options)

    def _substitution(self, synonyms: Mapping[str, Sequence[str]]) -> MaskedLMSubstitution:
        networks = load_networks(self.model, "model")
        if networks.masked_lm is None:
            raise ValueError(
                f"`model` {self.model} predicts no masked tokens. Give a masked LM or a joint checkpoint, which has a generator."
            )
        return MaskedLMSubstitution(networks.masked_lm, networks.tokenizer, synonyms=synonyms)


def make_augmentation(given: Mapping[str, Any]) -> Augmentation:
    """
    Return what a setting asks for.

    Raises:
        ValueError: A name that there is not, or one without effect.
    """
    known = list(Augmentation.__dataclass_fields__)
    if wrong := [name for name in given if name not in known]:
        raise ValueError(f"`augment` must have names of {known}, got {wrong}.")
    if given.get("how") is None and (idle := [name for name in given if name in ("copies", "rate")]):
        raise ValueError(f"`augment` has {idle} without `how`, which says what the copies are. Give both or neither.")
    return Augmentation(**given)


def _probabilities(
    classifier: str, examples: Sequence[Row]
) -> Callable[[Sequence[Mapping[str, Any]]], list[dict[str, float]]]:
    """
    Return what takes rows and gives the probability of each label, for [`keep_sure`].

    Raises:
        OSError: There is no such classifier.
        ValueError: It does something else, or does not know a label of the examples.
    """
    from electra_plus.recipes.prediction import load_predictor
    from electra_plus.recipes.tasks.running import predictions_of

    read_config(classifier, "classifier")  # which names the setting where there is none
    predictor = load_predictor(classifier)
    if predictor.task.name != TEXT_TASKS[0]:
        raise ValueError(
            f"`classifier` {classifier} was fine-tuned for {predictor.task.name}, and {TEXT_TASKS[0]} is needed."
        )
    labels = sorted({str(example["label"]) for example in examples})
    if set(labels) - set(predictor.task.names):
        raise ValueError(
            f"`classifier` {classifier} knows the labels {list(predictor.task.names)}, and the rows have {labels}. Fine-tune one "
            "on these rows without `augment`."
        )

    def probabilities(rows: Sequence[Row]) -> list[dict[str, float]]:
        found, _ = predictions_of(predictor.task, predictor.model, predictor.tokenizer, rows, predictor.bfloat16)
        return [prediction["probabilities"] for prediction in found]

    return probabilities


def read_synonyms(files: str | Sequence[str]) -> dict[str, list[str]]:
    """
    Read json files such as `{"good": ["fine", "nice"]}`; of several, the first that knows a word decides.

    Raises:
        OSError: There is no such file.
        ValueError: One holds something else.
    """
    merged: dict[str, list[str]] = {}
    for file in reversed([files] if isinstance(files, str) else files):
        try:
            found = json.loads(Path(file).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"`{file}` is no json: {error}.") from None
        if not isinstance(found, dict) or not all(
            isinstance(words, list) and all(isinstance(word, str) for word in words) for words in found.values()
        ):
            raise ValueError(f'`{file}` must hold a list of words for each word, such as {{"good": ["fine"]}}.')
        merged |= {word.lower(): words for word, words in found.items() if words}
    return merged
