"""
Local attention in blocks: time and memory linear in the length of the row, on any device.

A row is cut into blocks of queries. The tokens a block may look at lie in the block itself and in one window to each side,
so each block is a small attention of its own, and all of them are one call of scaled dot-product attention. A mask of the
whole row, as the attention interface has it, would cost `sequence_length ** 2` instead.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def block_length(window: int) -> int:
    """Return the number of queries in a block for a window of `window` tokens to each side."""
    return max(2 * window, 16)


def block_mask(
    length: int,
    window: int,
    batch_size: int,
    dtype: torch.dtype,
    device: torch.device | str,
    visible: Tensor | None = None,
    documents: Tensor | None = None,
) -> Tensor:
    r"""
    Return what each block may look at, to be added to its scores: 0 where it may, the lowest number elsewhere.

    Every token sees itself, padding too, so that no row of scores is without an entry.

    Args:
        length (`int`): Tokens in a row.
        window (`int`): Tokens to each side, at least 1.
        batch_size (`int`): Rows.
        dtype (`torch.dtype`): Of queries and mask.
        device (`torch.device`): Of the mask.
        visible (`torch.Tensor` of shape `(batch_size, length)`, *optional*): `False` or 0 for padding.
        documents (`torch.Tensor` of shape `(batch_size, length)`, *optional*):
            A number for each token; tokens see those with the same number only.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_blocks, 1, block, block + 2 * window)`.

    Example:

    >>> mask = block_mask(length=20, window=2, batch_size=1, dtype=torch.float32, device="cpu")
    >>> mask.shape
    torch.Size([1, 2, 1, 16, 20])
    >>> (mask[0, 0, 0, 5] == 0).nonzero().flatten() - 2  # token 5 sees 3 to 7; the first key of block 0 is token -2
    tensor([3, 4, 5, 6, 7])
    """
    block = block_length(window)
    num_blocks = -(-length // block)
    query = torch.arange(block, device=device)[:, None]
    key = torch.arange(-window, block + window, device=device)[None]  # counted from the block's first token
    tokens = torch.arange(num_blocks, device=device)[:, None] * block + key
    allowed = ((query - key).abs() <= window) & ((tokens >= 0) & (tokens < length))[
        :, None
    ]  # (num_blocks, block, keys)
    allowed = allowed[None]
    if visible is not None:
        allowed = allowed & _around_blocks(visible.bool(), window, block, filler=False)[:, :, None]
    if documents is not None:
        of_keys = _around_blocks(documents, window, block, filler=-1)
        of_queries = of_keys[..., window : window + block]
        allowed = allowed & (of_queries[..., None] == of_keys[:, :, None])
    allowed = allowed | (query == key)
    mask = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill(~allowed, torch.finfo(dtype).min)
    return mask[:, :, None].expand(batch_size, -1, -1, -1, -1).contiguous()


def _around_blocks(row: Tensor, window: int, block: int, filler: bool | int) -> Tensor:
    """Cut `(batch_size, length)` into `(batch_size, num_blocks, block + 2 * window)`, with `filler` beyond both ends."""
    rest = -row.shape[1] % block
    return F.pad(row, (window, rest + window), value=filler).unfold(1, block + 2 * window, block)


def block_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float = 0.0, scaling: float | None = None
) -> Tensor:
    r"""
    Attend within the blocks of a mask that [`block_mask`] made.

    Args:
        query, key, value (`torch.Tensor` of shape `(batch_size, num_heads, length, head_size)`)
        mask (`torch.Tensor` of shape `(batch_size, num_blocks, 1, block, block + 2 * window)`)
        dropout (`float`, *optional*, defaults to 0.0): Of the attention weights.
        scaling (`float`, *optional*): Factor of the scores. `None` is `head_size ** -0.5`.

    Returns:
        `torch.Tensor` of shape `(batch_size, length, num_heads, head_size)`.
    """
    batch_size, num_heads, length, head_size = query.shape
    num_blocks, block, num_keys = mask.shape[1], mask.shape[3], mask.shape[4]
    window, rest = (num_keys - block) // 2, num_blocks * block - length
    query = F.pad(query, (0, 0, 0, rest)).view(batch_size, num_heads, num_blocks, block, head_size)
    key, value = (
        F.pad(states, (0, 0, window, rest + window)).unfold(2, num_keys, block).transpose(-1, -2)
        for states in (key, value)
    )
    query, key, value = (states.transpose(1, 2).flatten(0, 1) for states in (query, key, value))
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask.flatten(0, 1), dropout_p=dropout, scale=scaling
    )
    attended = attended.unflatten(0, (batch_size, num_blocks)).transpose(2, 3).flatten(1, 2)
    return attended[:, :length]
