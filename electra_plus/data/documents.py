"""Documents by their content: exact duplicates are found, and a held-out part is chosen whatever their order."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DocumentKey:
    """
    What the hash of a document says.

    Args:
        identity (`int`):
            64 bits, equal for equal documents. Among 100 million different ones the chance that any two share it is 0.03 %.
        held_out_draw (`float`): In [0, 1), uniform. The document is held out where it is below the fraction.
        sample_draw (`float`): In [0, 1), uniform and independent of the other.
    """

    identity: int
    held_out_draw: float
    sample_draw: float


def document_key(document: Sequence[str]) -> DocumentKey:
    """
    Hash a document, a list of paragraphs.

    Example:

    >>> document_key(["one", "two"]) == document_key(["one", "two"]), document_key(["one two"]) == document_key(["one", "two"])
    (True, False)
    """
    digest = hashlib.blake2b("\n".join(document).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return DocumentKey(
        int.from_bytes(digest[:8], "big"),
        int.from_bytes(digest[8:12], "big") / 2**32,
        int.from_bytes(digest[12:], "big") / 2**32,
    )


class SeenDocuments:
    """
    A set of 64-bit numbers in 13 to 27 bytes each, a sixth of what a Python `set` takes.

    Example:

    >>> seen = SeenDocuments()
    >>> seen.add(7), seen.add(8), seen.add(7), len(seen)
    (True, True, False, 2)
    """

    def __init__(self):
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, identity: int) -> bool:
        """Add a number in [0, 2**64); return whether it is new."""
        identity = identity or 1  # 0 marks a free slot
        if not self._insert(identity):
            return False
        self._count += 1
        if self._count > 0.6 * len(self._slots):
            kept, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            for number in kept:
                if number:
                    self._insert(number)
        return True

    def _insert(self, identity: int) -> bool:
        # the numbers are hashes already, so their last bits are as good as any
        slots, last = self._slots, len(self._slots) - 1
        place = identity & last
        while slots[place]:
            if slots[place] == identity:
                return False
            place = (place + 1) & last
        slots[place] = identity
        return True


def sample_documents(documents: Iterable[list[str]], num_characters: int, held_out_fraction: float) -> list[list[str]]:
    """
    Choose documents at random, up to so many characters in all, without duplicates or held-out ones.

    The choice depends on their content alone, not on their order: those with the smallest draws are kept.

    Args:
        documents: Of any number; only the sample is held in memory.
        num_characters (`int`): At most. A first document that is larger is taken nevertheless.
        held_out_fraction (`float`): In [0, 1).

    Returns:
        `list[list[str]]`, in the order of their draws.
    """
    sample: dict[tuple[float, int], list[str]] = {}
    bound, size = 1.0, 0
    for document in documents:
        key = document_key(document)
        place = (key.sample_draw, key.identity)
        if key.held_out_draw < held_out_fraction or key.sample_draw >= bound or place in sample:
            continue
        sample[place] = document
        size += sum(map(len, document))
        # a quarter too many, so that the sample is rarely sorted
        if size > 1.25 * num_characters:
            sample, size, bound = _smallest(sample, num_characters)
    sample, _, _ = _smallest(sample, num_characters)
    return list(sample.values())


def _smallest(sample: dict[tuple[float, int], list[str]], num_characters: int):
    """Return the documents with the smallest draws up to the budget, their size, and the draw of the first left out."""
    kept: dict[tuple[float, int], list[str]] = {}
    size = 0
    for place in sorted(sample):
        more = sum(map(len, sample[place]))
        if kept and size + more > num_characters:
            return kept, size, place[0]
        kept[place] = sample[place]
        size += more
    return kept, size, 1.0
