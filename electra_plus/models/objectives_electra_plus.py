"""Pure tensor functions of the pretraining objectives: sampling, replaced-token labels, and the losses."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

BLOCK_SIZE = 128  # of the vocabulary, in tokens: near the square root of its size, where a draw costs least
GUMBEL_TEMPERATURE = (
    0.3  # of the relaxed draw, as in AMOS's released code; higher is smoother and farther from a real draw
)


def sample_replacements(
    logits: Tensor, temperature: float = 1.0, forbidden_ids: Tensor | None = None, rng: Generator | None = None
) -> Tensor:
    r"""
    Draw one token for every masked slot in proportion to the generator's probabilities.

    The draw is made in float32 and passes no gradient back, so only the masked-LM loss trains the generator. It inverts
    the cumulative distribution, first over blocks of the vocabulary and then within the block drawn: two uniform numbers a
    slot instead of one for each entry of the vocabulary, with the same distribution as the Gumbel-max draw of the released
    code.

    Args:
        logits (`torch.FloatTensor` of shape `(num_masked, vocab_size)`):
            Unnormalised log-probabilities, in nats.
        temperature (`float`, *optional*, defaults to 1.0):
            Divisor of the logits, > 0, no unit. Towards 0 the most likely token always wins.
        forbidden_ids (`torch.LongTensor` of shape `(num_masked,)`, *optional*):
            A token that may not be drawn in each slot. `None` allows all, the original token included.
        rng (`torch.Generator`, *optional*):
            Source of randomness on the logits' device. `None` uses torch's global one.

    Returns:
        `torch.LongTensor` of shape `(num_masked,)`: token ids in `[0, vocab_size)`.

    Raises:
        ValueError: `temperature` is zero or negative.

    Source: Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2.
    """
    if temperature <= 0:
        raise ValueError(f"`temperature` must be > 0, got {temperature}. For greedy choice use `logits.argmax(-1)`.")
    scores = logits.detach().float()
    if temperature != 1.0:
        scores = scores / temperature
    if forbidden_ids is not None:
        scores = scores.scatter(1, forbidden_ids[:, None], float("-inf"))
    return draw_from_probabilities(scores.softmax(dim=-1), rng)


def draw_from_probabilities(probabilities: Tensor, rng: Generator | None = None) -> Tensor:
    """Draw one column of each row, as [`sample_replacements`] does, from `(num_masked, vocab_size)` probabilities."""
    vocab_size = probabilities.shape[1]
    num_whole = vocab_size - vocab_size % BLOCK_SIZE
    # sums run over all entries at once, a running total goes from one to the next: it is left to blocks
    whole_blocks = probabilities[:, :num_whole].unflatten(1, (-1, BLOCK_SIZE)).sum(dim=-1)
    block_sums = torch.cat([whole_blocks, probabilities[:, num_whole:].sum(dim=-1, keepdim=True)], dim=1)
    blocks = _draw_by_weight(block_sums, rng)  # (num_masked, 1)
    entries = blocks * BLOCK_SIZE + torch.arange(BLOCK_SIZE, device=probabilities.device)
    weights = probabilities.gather(1, entries.clamp(max=vocab_size - 1)).masked_fill(entries >= vocab_size, 0.0)
    # the bound matters only where logits are no numbers, so that the loss can say so instead of a lookup failing
    return entries.gather(1, _draw_by_weight(weights, rng)).squeeze(1).clamp(max=vocab_size - 1)


def _draw_by_weight(weights: Tensor, rng: Generator | None) -> Tensor:
    """Draw one column of each row in proportion to `weights` (not negative, one at least positive): `(num_rows, 1)`."""
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:]
    # `generator=None` is not the same to a compiler that leaves the number of slots open
    draws = torch.rand_like(total) if rng is None else torch.rand(total.shape, generator=rng, device=weights.device)
    draws = draws * total
    # strictly below the total, whatever the rounding: the first entry above a draw then always has a weight > 0
    draws = torch.minimum(draws, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, draws, right=True).clamp(max=cumulative.shape[1] - 1)


def draw_with_gradient(
    logits: Tensor, temperature: float = 1.0, forbidden_ids: Tensor | None = None, reversed_by: float = 1.0
) -> Tensor:
    r"""
    Draw one token for every masked slot, with a gradient that turns the generator against the discriminator.

    The draw has the distribution of [`sample_replacements`]. Forwards the result is one-hot; backwards it is the relaxed
    (Gumbel-softmax) draw, and the gradient is multiplied by `-reversed_by`, so that descending the discriminator's loss makes
    the generator ascend it.

    Args:
        logits (`torch.FloatTensor` of shape `(num_masked, vocab_size)`): Unnormalised log-probabilities, in nats.
        temperature (`float`, *optional*, defaults to 1.0): Divisor of the logits, > 0.
        forbidden_ids (`torch.LongTensor` of shape `(num_masked,)`, *optional*): Tokens that may not be drawn.
        reversed_by (`float`, *optional*, defaults to 1.0): Multiplier of the gradient, before its sign is turned.

    Returns:
        `torch.FloatTensor` of shape `(num_masked, vocab_size)`: 1 at the drawn token, else 0.

    Source: Meng et al. 2022 (AMOS), https://arxiv.org/abs/2204.03243, and its released code; Jang et al. 2017,
    https://arxiv.org/abs/1611.01144, for the estimator.
    """
    scores = logits.float() / temperature
    if forbidden_ids is not None:
        scores = scores.scatter(1, forbidden_ids[:, None], float("-inf"))
    noise = -torch.empty_like(scores).exponential_().log()  # Gumbel; `F.gumbel_softmax` would not forgive -inf scores
    noisy = scores + noise
    relaxed = (noisy / GUMBEL_TEMPERATURE).softmax(dim=-1)
    drawn = F.one_hot(noisy.argmax(dim=-1), scores.shape[1]).to(relaxed.dtype)
    # both differences are zero: they only carry the gradient
    return drawn - reversed_by * (relaxed - relaxed.detach())


def masked_slots(labels: Tensor, num_slots: int | None = None) -> Tensor:
    r"""
    Return where the masked slots are in the flattened batch, row after row.

    Args:
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Original ids at masked slots, else -100.
        num_slots (`int`, *optional*):
            An upper bound of their number. The result then has that shape whatever the batch, so that a compiler sees one
            shape and the host need not wait for the device to count. `None` counts.

    Returns:
        `torch.LongTensor` of shape `(num_slots,)` or `(num_masked,)`, with -1 behind the last masked slot.

    Example:

    ```python
    >>> import torch
    >>> masked_slots(torch.tensor([[-100, 7, -100], [9, -100, -100]]), num_slots=4)
    tensor([ 1,  3, -1, -1])

    ```
    """
    masked = (labels != -100).flatten()
    slots = masked.nonzero() if num_slots is None else torch.nonzero_static(masked, size=num_slots, fill_value=-1)
    return slots.squeeze(1)


def at_slots(values: Tensor, slots: Tensor) -> Tensor:
    """Return what a batch `(batch_size, sequence_length, ...)` holds at slots from [`masked_slots`]; at -1 any value."""
    return values.flatten(0, 1).index_select(0, slots.clamp(min=0))


def slots_by_row(slots: Tensor, batch_size: int, length: int) -> tuple[Tensor, Tensor]:
    r"""
    Sort slots into their rows.

    Args:
        slots (`torch.LongTensor` of shape `(num_slots,)`): From [`masked_slots`], one at least that is no -1.
        batch_size, length (`int`): Of the batch.

    Returns:
        `tuple`: positions in each row, `(batch_size, most_in_a_row)`, 0 where a row has fewer; and for each slot its place in the
        flattened positions, `(num_slots,)`, 0 for -1.

    Example:

    ```python
    >>> import torch
    >>> slots_by_row(torch.tensor([1, 2, 5, -1]), batch_size=2, length=3)
    (tensor([[1, 2],
            [2, 0]]), tensor([0, 1, 2, 0]))

    ```
    """
    real = slots[slots >= 0]
    rows = real // length
    counts = rows.bincount(minlength=batch_size)
    in_row = torch.arange(len(real), device=slots.device) - (counts.cumsum(0) - counts)[rows]
    width = int(counts.max())
    positions = slots.new_zeros(batch_size, width).index_put((rows, in_row), real % length)
    places = torch.zeros_like(slots)
    places[: len(real)] = rows * width + in_row
    return positions, places


def labels_at_slots(labels: Tensor, slots: Tensor) -> Tensor:
    """Return the labels `(batch_size, sequence_length)` at slots from [`masked_slots`], -100 at -1."""
    return at_slots(labels, slots).masked_fill(slots < 0, -100)


def replaced_token_labels(input_ids: Tensor, original_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    r"""
    Label every token: 1 if it differs from the original, 0 if not, -100 on padding.

    A slot where the generator drew the original token counts as original (ELECTRA paper, section 2).

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The corrupted text.
        original_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The text before masking.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): 1 for tokens, 0 for padding.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`

    Example:

    ```python
    >>> import torch
    >>> replaced_token_labels(torch.tensor([[2, 7, 8, 0]]), torch.tensor([[2, 7, 9, 0]]), torch.tensor([[1, 1, 1, 0]]))
    tensor([[   0,    0,    1, -100]])

    ```
    """
    labels = (input_ids != original_ids).long()
    if attention_mask is not None:
        labels = labels.masked_fill(attention_mask == 0, -100)
    return labels


def masked_lm_loss(logits: Tensor, original_ids: Tensor) -> Tensor:
    r"""
    Return the mean cross-entropy over masked slots in nats, computed in float32; 0 when there is no slot.

    Args:
        logits (`torch.FloatTensor` of shape `(num_masked, vocab_size)`): The generator's scores.
        original_ids (`torch.LongTensor` of shape `(num_masked,)`): The tokens that were masked, -100 ignored.
    """
    num_masked = (original_ids != -100).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), original_ids, reduction="sum") / num_masked


def replaced_token_detection_loss(logits: Tensor, labels: Tensor) -> Tensor:
    r"""
    Return the mean binary cross-entropy over labelled tokens in nats, computed in float32; 0 when there is none.

    The mean runs over all tokens that are not padding, `[CLS]` and `[SEP]` included, as in the released code.

    Args:
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): > 0 where a token looks replaced.
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): 1 replaced, 0 original, -100 ignored.
    """
    counted = labels != -100
    # zero weights instead of indexing: no wait for the device, and one shape for the compiler
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.clamp(min=0).float(), reduction="none")
    return (losses * counted).sum() / counted.sum().clamp(min=1)
