"""Tags of tokens: from spans of characters, from other schemes than IOB2, and what is wrong with them."""

import re
from collections.abc import Sequence

SCHEME = re.compile(r"[BIMESUL]-.")
# begin, inside and end of an entity, and one of a single token, in IOB, BIOES, BMES and BILOU
BEGINS = {"B", "S", "U"}
CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters and Japanese kana
# One such character, a word of another script (digits and "_" included), or one other mark.
TOKEN = re.compile(rf"[{CJK}]|[^\W{CJK}]+|[^\w\s]")


def has_scheme(tags: Sequence[str]) -> bool:
    """Whether any tag is of an entity, as `B-name` is. Parts of speech, for example, are not."""
    return any(SCHEME.match(tag) for tag in tags)


def iob2_problem(tags: Sequence[str]) -> str | None:
    """
    Return what keeps tags from being IOB2, `None` where they are: `O`, `B-name` first in an entity, `I-name` further in it.

    Example:

    >>> iob2_problem(["O", "B-city", "I-city"])
    >>> iob2_problem(["O", "I-city"])
    "tag 2 is 'I-city' after 'O', and an entity begins with 'B-city'"
    """
    before = "O"
    for number, tag in enumerate(tags, start=1):
        if tag != "O" and not re.match(r"[BI]-.", tag):
            return f"tag {number} is {tag!r}, which is none of O, B-name and I-name"
        if tag.startswith("I-") and before[2:] != tag[2:]:
            return f"tag {number} is {tag!r} after {before!r}, and an entity begins with {'B-' + tag[2:]!r}"
        before = tag
    return None


def to_iob2(tags: Sequence[str]) -> list[str]:
    """
    Convert tags of the schemes IOB1, BIOES, BMES and BILOU. Those of IOB2 come back as they are.

    Raises:
        ValueError: A tag of none of these schemes.

    Example:

    >>> to_iob2(["S-name", "O", "B-city", "M-city", "E-city"])
    ['B-name', 'O', 'B-city', 'I-city', 'I-city']
    >>> to_iob2(["I-city", "I-city", "O", "I-name"])
    ['B-city', 'I-city', 'O', 'B-name']
    """
    converted: list[str] = []
    before = "O"
    for number, tag in enumerate(tags, start=1):
        if tag != "O" and not SCHEME.match(tag):
            raise ValueError(f"tag {number} is {tag!r}, which is none of O, B-name, I-name, M-name, E-name, S-name.")
        first = tag[0] in BEGINS or before[2:] != tag[2:]
        converted.append("O" if tag == "O" else f"{'B' if first else 'I'}-{tag[2:]}")
        before = tag
    return converted


def spans_to_tags(text: str, spans: Sequence[tuple[int, int, str]]) -> tuple[list[str], list[str]]:
    """
    Cut a text into words (Chinese and Japanese: characters) and tag them in IOB2.

    A word is cut where a span begins or ends inside of it, so that no entity grows or shrinks.

    Args:
        text (`str`): The text.
        spans (`Sequence[tuple]`): First character, character after the last one, and name of each entity, in any order.

    Returns:
        `tuple[list[str], list[str]]`: tokens and tags.

    Raises:
        ValueError: A span is empty or outside of the text, or two overlap, which IOB2 cannot say.

    Example:

    >>> spans_to_tags("In New York, 2019", [(3, 11, "city")])
    (['In', 'New', 'York', ',', '2019'], ['O', 'B-city', 'I-city', 'O', 'O'])
    >>> spans_to_tags("我在北京", [(2, 4, "city")])
    (['我', '在', '北', '京'], ['O', 'O', 'B-city', 'I-city'])
    """
    spans = sorted(spans)
    tokens: list[str] = []
    tags: list[str] = []

    def add(start: int, end: int, name: str | None) -> None:
        words = TOKEN.findall(text[start:end])
        tokens.extend(words)
        tags.extend("O" if name is None else f"{'I' if index else 'B'}-{name}" for index in range(len(words)))

    position = 0
    for start, end, name in spans:
        if not 0 <= start < end <= len(text):
            raise ValueError(
                f"the span {start} to {end} ({name!r}) is empty or outside of the text (0 to {len(text)})."
            )
        if not text[start:end].strip():
            raise ValueError(f"the span {start} to {end} ({name!r}) holds white space alone.")
        if start < position:
            raise ValueError(f"the span {start} to {end} ({name!r}) overlaps the one that ends at {position}.")
        add(position, start, None)
        add(start, end, name)
        position = end
    add(position, len(text), None)
    return tokens, tags
