"""
Several documents in one row: which token belongs to which document, and the documents as rows of their own again.

A packed batch has no padding to compute, or little. `document_ids` says which document each token belongs to, -1 for
padding; tokens attend within their document only, and positions restart in each.
"""

import torch
from torch import Tensor

from .short_attention_electra_plus import mask_to_add


def packed_document_ids(
    position_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    cu_seq_lens: Tensor | None = None,
) -> Tensor | None:
    r"""
    Find the documents of a packed batch; return `None` if no row holds more than one.

    Args:
        position_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            A document begins at every 0.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): 0 for padding.
        cu_seq_lens (`torch.IntTensor` of shape `(num_documents + 1,)`, *optional*):
            Where documents begin and end in a single row, as flash attention takes it; used instead of `position_ids`.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`: documents numbered from 0, row after row, -1 for padding.

    Example:

    >>> packed_document_ids(torch.tensor([[0, 1, 2, 0, 1], [0, 1, 0, 0, 0]]), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]))
    tensor([[ 0,  0,  0,  1,  1],
            [ 2,  2,  3, -1, -1]])
    >>> packed_document_ids(cu_seq_lens=torch.tensor([0, 2, 5]))
    tensor([[0, 0, 1, 1, 1]])
    """
    if cu_seq_lens is not None:
        tokens = torch.arange(int(cu_seq_lens[-1]), device=cu_seq_lens.device)
        return torch.searchsorted(cu_seq_lens[1:].to(tokens.dtype), tokens, right=True)[None]
    if position_ids is None or position_ids.shape[0] == 0:
        return None
    real = torch.ones_like(position_ids, dtype=torch.bool)
    if attention_mask is not None and attention_mask.dim() == 2:
        if attention_mask.shape != position_ids.shape:
            return None  # one row of positions for all, or a cache: nothing is packed
        real = attention_mask.bool()
    first = real & (real.cumsum(dim=1) == 1)
    begins = (real & (position_ids == 0)) | first
    if torch.equal(begins, first):
        return None
    numbers = begins.flatten().cumsum(dim=0).view_as(position_ids) - 1
    return numbers.masked_fill(~real, -1)


def positions_in_documents(document_ids: Tensor) -> Tensor:
    r"""
    Count the tokens of each document from 0.

    Args:
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`)

    Returns:
        `torch.LongTensor` of the same shape.

    Example:

    >>> positions_in_documents(torch.tensor([[0, 0, 0, 1, 1], [2, 3, 3, -1, -1]]))
    tensor([[0, 1, 2, 0, 1],
            [0, 0, 1, 0, 1]])
    """
    tokens = torch.arange(document_ids.shape[1], device=document_ids.device).expand_as(document_ids)
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return tokens - torch.where(begins, tokens, 0).cummax(dim=1).values


def first_slots(document_ids: Tensor) -> Tensor:
    r"""
    Return where documents begin in the flattened batch, row after row.

    Args:
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): -1 for padding.

    Returns:
        `torch.LongTensor` of shape `(num_documents,)`

    Example:

    >>> first_slots(torch.tensor([[0, 0, 0, 1, 1], [2, 3, 3, -1, -1]]))
    tensor([0, 3, 5, 6])
    """
    begins = (positions_in_documents(document_ids) == 0) & (document_ids >= 0)
    return begins.flatten().nonzero().squeeze(1)


def default_positions(tokens: Tensor, document_ids: Tensor | None, past_length: int = 0) -> Tensor:
    r"""
    Return the positions of tokens whose caller gave none: from 0 in each document of packed rows, else one after the other.

    Args:
        tokens (`torch.Tensor` of shape `(batch_size, sequence_length, ...)`): Ids or vectors.
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): Of packed rows.
        past_length (`int`, *optional*, defaults to 0): Tokens before these, in a cache.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)` for packed rows, else `(1, sequence_length)`.
    """
    if document_ids is not None:
        return positions_in_documents(document_ids)
    return torch.arange(past_length, past_length + tokens.shape[1], device=tokens.device)[None]


def unpack_documents(states: Tensor, document_ids: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    Give each document a row of its own, in the order of their numbers.

    Args:
        states (`torch.Tensor` of shape `(batch_size, sequence_length, hidden_size)`)
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Numbers from 0, -1 for padding.

    Returns:
        `tuple`: states `(num_documents, longest, hidden_size)` with zeros for padding, and `(num_documents, longest)`, 1 for
        tokens and 0 for padding.

    Example:

    >>> states, mask = unpack_documents(torch.tensor([[[5.0], [6.0], [7.0], [0.0]]]), torch.tensor([[1, 1, 0, -1]]))
    >>> states.squeeze(-1).tolist(), mask.tolist()
    ([[7.0, 0.0], [5.0, 6.0]], [[1, 0], [1, 1]])
    """
    numbers = document_ids.flatten()
    tokens = numbers.argsort(stable=True)[(numbers < 0).sum() :]  # without padding, document after document
    numbers = numbers[tokens]
    lengths = numbers.bincount()
    places = torch.arange(len(tokens), device=tokens.device) - (lengths.cumsum(0) - lengths)[numbers]
    longest = int(lengths.max()) if len(tokens) else 0
    rows = states.new_zeros(len(lengths), longest, states.shape[-1])
    rows = rows.index_put((numbers, places), states.flatten(0, 1)[tokens])
    mask = torch.arange(longest, device=tokens.device) < lengths[:, None]
    return rows, mask.long()


def within_documents(document_ids: Tensor, window: int | None = None) -> Tensor:
    r"""
    Say which tokens of packed rows may see which.

    Args:
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`)
        window (`int`, *optional*): Tokens to each side that a token may see. `None` is all.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, 1, sequence_length, sequence_length)`

    Example:

    >>> within_documents(torch.tensor([[0, 0, 0, 1]]), window=1).int().tolist()
    [[[[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]]]
    """
    same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    if window is None:
        return same
    tokens = torch.arange(document_ids.shape[1], device=document_ids.device)
    return same & ((tokens[:, None] - tokens).abs() <= window)


def packed_attention_mask(document_ids: Tensor, dtype: torch.dtype) -> Tensor:
    r"""
    Return a mask for models that know nothing of documents, to be added to the scores.

    Args:
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`)
        dtype (`torch.dtype`): Of the model.

    Returns:
        `torch.Tensor` of shape `(batch_size, 1, sequence_length, sequence_length)`: 0 within a document, else the lowest number.

    Example:

    >>> (packed_attention_mask(torch.tensor([[0, 0, 1]]), torch.float32) == 0).int().tolist()
    [[[[1, 1, 0], [1, 1, 0], [0, 0, 1]]]]
    """
    return mask_to_add(within_documents(document_ids), dtype)


def flash_arguments(document_ids: Tensor) -> dict[str, Tensor | int]:
    r"""
    Return what flash attention wants to know of a packed batch, whose rows it takes one after the other.

    Args:
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`)

    Returns:
        `dict`: `cu_seq_lens_q`, `cu_seq_lens_k` (`torch.IntTensor` of shape `(num_pieces + 1,)`, padding a piece as well),
        `max_length_q` and `max_length_k`.

    Example:

    >>> flash_arguments(torch.tensor([[0, 0, 0, 1, 1], [2, 3, 3, -1, -1]]))["cu_seq_lens_q"]
    tensor([ 0,  3,  5,  6,  8, 10], dtype=torch.int32)
    """
    begins = (positions_in_documents(document_ids) == 0).flatten().nonzero().squeeze(1)
    cumulative = torch.cat([begins, begins.new_tensor([document_ids.numel()])]).int()
    longest = int(cumulative.diff().max())
    return {
        "cu_seq_lens_q": cumulative,
        "cu_seq_lens_k": cumulative,
        "max_length_q": longest,
        "max_length_k": longest,
    }
