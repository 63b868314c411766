"""Shorter rows at the beginning of a training: the same tokens in a batch, cut into more rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIN_ROW_LENGTH = 8  # tokens; in shorter rows the one token that each row masks at least is far more than 15 %


@dataclass(frozen=True)
class LengthRamp:
    r"""
    The length of rows, batch by batch: it doubles, in stages of as many batches each, until rows are whole.

    A batch of 4 rows of 128 tokens is 16 rows of 32 tokens at first: as many tokens, and less attention between them. Each token
    is in one piece. A piece begins where the row was cut, without `[CLS]`, and its positions from 0.

    Args:
        initial_row_length (`int`): Tokens of the first rows, at least 8: `row_length` halved once or more.
        row_length (`int`): Tokens of a whole row, at most.
        num_batches (`int`): Of this process, over which the length grows; all that come after hold whole rows.

    Raises:
        ValueError: A number is too small, or `row_length` is not `initial_row_length` doubled.

    Example:

    >>> ramp = LengthRamp(initial_row_length=16, row_length=64, num_batches=6)
    >>> [ramp.row_length_at(step) for step in range(8)]
    [16, 16, 16, 32, 32, 32, 64, 64]

    Source: Press et al. 2021, https://arxiv.org/abs/2012.15832 (two stages); Li et al. 2022, https://arxiv.org/abs/2108.06084
    (many small steps). Doubling instead keeps all tokens of a batch, and the shapes few.
    """

    initial_row_length: int
    row_length: int
    num_batches: int

    def __post_init__(self):
        initial, full = self.initial_row_length, self.row_length
        times = full // initial if initial >= MIN_ROW_LENGTH else 0
        if times < 2 or times * initial != full or times & (times - 1):
            halvings = [
                full >> k for k in range(1, full.bit_length()) if full % 2**k == 0 and full >> k >= MIN_ROW_LENGTH
            ]
            raise ValueError(
                f"`initial_row_length` must be `row_length` ({full}) halved once or more, at least {MIN_ROW_LENGTH} tokens, got "
                f"{initial}. Choose one of {halvings}."
            )
        if self.num_batches < 1:
            raise ValueError(f"`num_batches` must be at least 1, got {self.num_batches}.")

    def row_length_at(self, step: int) -> int:
        """Return the tokens of a row in batch number `step` of a process."""
        num_doublings = (self.row_length // self.initial_row_length).bit_length() - 1
        return self.initial_row_length << min(num_doublings, step * num_doublings // self.num_batches)

    def cut(self, row: Mapping[str, Sequence[int]], step: int) -> list[dict[str, Sequence[int]]]:
        r"""
        Cut a row for batch number `step`; what holds nothing but padding is left out.

        Args:
            row (`dict`): Values for each token, `input_ids` among them.
            step (`int`): Number of the batch.

        Returns:
            `list[dict]`: pieces of the length at that step, the last one maybe shorter.

        Raises:
            ValueError: The row is longer than `row_length`, or has a field that is not of tokens.
        """
        num_tokens, length = len(row["input_ids"]), self.row_length_at(step)
        if num_tokens > self.row_length:
            raise ValueError(
                f"`row_length` must be that of the longest row, got {self.row_length} and a row of {num_tokens}."
            )
        wrong = [name for name, values in row.items() if not hasattr(values, "__len__") or len(values) != num_tokens]
        if wrong:
            raise ValueError(
                f"`features` must have one value for each of a row's {num_tokens} tokens to be cut, {wrong} has not. Drop it."
            )
        starts = range(0, num_tokens, length)
        pieces = [{name: values[start : start + length] for name, values in row.items()} for start in starts]
        return [piece for piece in pieces if any(piece.get("attention_mask", [1]))]
