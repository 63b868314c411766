"""
Writes a model card into `model_cards/` for each checkpoint of the benchmarks, from `results/*.json` and the scripts' settings.

    python benchmarks/cards.py           # write them; exit 1 if there is one of no checkpoint, which is left to people
    python benchmarks/cards.py --check   # write nothing; exit 1 too if one is out of date

The weights are published nowhere; each card says how to make them. A checkpoint is here if a run leaves it, or could, in a folder that
somebody may want to open. Not here: what scripts train to compare ways of training (`objectives.py`, `detection_start.py`, `augmentation.py`, `long_context.py`) or
to measure speed, loading and faults, and the rows of `tasks.py` on so few examples that the model is near chance, or that the same recipe
on more rows replaces.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import pretraining_cards
import task_cards
from card_parts import Card
from table_parts import FOLDER

from electra_plus.hub.model_card import render_card

CARDS_FOLDER = FOLDER.parent / "model_cards"

# name of the card: what makes it
CARDS: dict[str, Callable[[], Card]] = {
    "quickstart-masked-lm": partial(pretraining_cards.quickstart, "masked_lm"),
    "quickstart-pretrained": partial(pretraining_cards.quickstart, "pretrained"),
    "quickstart-sentiment": pretraining_cards.quickstart_sentiment,
    "half-hour-modern-rtd": partial(pretraining_cards.half_hour, "modern RTD"),
    "half-hour-modern-masked-lm": partial(pretraining_cards.half_hour, "modern masked LM"),
    "half-hour-classic-rtd": partial(pretraining_cards.half_hour, "classic RTD"),
    "small-en": partial(pretraining_cards.on_gpu, "english"),
    "small-zh": partial(pretraining_cards.on_gpu, "chinese"),
    "classic-small-few-steps": pretraining_cards.classic_small,
    **{about.name: partial(task_cards.of_case, case) for case, about in task_cards.CASES.items()},
    "multi30k-en-de": task_cards.translation,
    "speeches-en": partial(task_cards.generation, "english"),
    "novels-zh": partial(task_cards.generation, "chinese"),
}


def rendered(name: str) -> str:
    """Return the text of a card."""
    card = CARDS[name]()
    return render_card(card.record, card.facts, name, card.reproduction)


def out_of_date() -> dict[str, str | None]:
    """Return the text of each file that is not as it should be, `None` for one that belongs to no checkpoint."""
    new = {f"{name}.md": rendered(name) for name in CARDS}
    old = {file.name: file.read_text(encoding="utf-8") for file in CARDS_FOLDER.glob("*.md")}
    return {file: new.get(file) for file in sorted(new.keys() | old.keys()) if new.get(file) != old.get(file)}


def main(arguments: list[str] | None = None) -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a card is out of date")
    check = parser.parse_args(arguments).check
    changed = out_of_date()
    CARDS_FOLDER.mkdir(exist_ok=True)
    for name, text in changed.items():
        if not check and text is not None:
            (CARDS_FOLDER / name).write_text(text, encoding="utf-8")
        if check or text is None:
            print(f"{name}: {'belongs to no checkpoint' if text is None else 'out of date'}", file=sys.stderr)
    return int(None in changed.values() or (check and bool(changed)))


if __name__ == "__main__":
    sys.exit(main())
