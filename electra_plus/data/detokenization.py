"""Text as people write it, from what a WordPiece tokenizer decodes: BERT's splits at every mark and around every Chinese character."""

import re

from transformers import PreTrainedTokenizerBase

from electra_plus.data.tagged_tokens import CJK

# Before letters these stand without spaces ("T-Shirt", "100-Meter"); before digits a dash may be a minus.
INSIDE_WORDS = re.compile(r"(?<=[^\W_]) ([-/’']) (?=[^\W\d_])")
# An opening mark, what it holds, and its closing mark; German closes with the mark that opens in English.
PAIRS = [
    re.compile(rf"{re.escape(opens)} ([^{re.escape(opens)}]*?) {re.escape(closes)}")
    for opens, closes in ("()", "[]", "„“", "“”", "«»")
]
WIDE = rf"{CJK}\u3000-\u303f\uff00-\uffef"  # with the marks of these scripts
BESIDE_WIDE = re.compile(rf"(?<=[{WIDE}]) | (?=[{WIDE}])")


def as_written(text: str) -> str:
    """
    Take out the spaces that decoding WordPiece tokens puts where nobody writes them.

    Example:

    >>> as_written("Ein schwarz - weißer Hund ( klein ) namens „ Rex “."), as_written("我 很 喜 欢 这 本 书 。")
    ('Ein schwarz-weißer Hund (klein) namens „Rex“.', '我很喜欢这本书。')
    >>> as_written("3 - 2 = 1")
    '3 - 2 = 1'
    """
    text = BESIDE_WIDE.sub("", INSIDE_WORDS.sub(r"\1", text))
    for pair in PAIRS:
        text = pair.sub(lambda found: found[0][0] + found[1] + found[0][-1], text)
    return text


def decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Return the text of tokens without special ones; of a WordPiece tokenizer [`as_written`]."""
    text = tokenizer.decode(ids, skip_special_tokens=True).strip()
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    return as_written(text) if type(model).__name__ == "WordPiece" else text
