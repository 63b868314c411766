"""Word vectors from co-occurrence counts: a start for word embeddings that a short pretraining has no time to learn."""

from collections.abc import Iterable, Sequence

import torch

# Up to this many different pairs each gets a counter (512 MiB); beyond it the pairs are sorted, which takes far longer.
DENSE_COUNTS = 2**26


def cooccurrence_vectors(
    rows: Iterable[Sequence[int]],
    vocab_size: int,
    vector_size: int,
    window: int = 10,
    ignored_ids: Sequence[int] = (),
    seed: int = 0,
) -> torch.Tensor:
    r"""
    Factorise the positive pointwise mutual information of tokens that stand near each other.

    Counts pairs at a distance of up to `window` tokens inside a row, both ways. Left singular vectors times the square root
    of their singular values, centred, then scaled to length 1, so that frequent tokens are no longer than rare ones.

    Args:
        rows (`Iterable[Sequence[int]]`): Token ids in `[0, vocab_size)`.
        vocab_size (`int`): Number of vectors.
        vector_size (`int`): Numbers in a vector, less than `vocab_size`.
        window (`int`, *optional*, defaults to 10): Largest distance of a pair, in tokens, at least 1.
        ignored_ids (`Sequence[int]`, *optional*): Tokens that count for nothing, such as the special ones.
        seed (`int`, *optional*, defaults to 0): Of the randomised factorisation.

    Returns:
        `torch.FloatTensor` of shape `(vocab_size, vector_size)`: zeros for ignored tokens and those without a neighbour.

    Raises:
        ValueError: `window` or `vector_size` is out of range, or no two tokens are neighbours.

    Source: Levy, Goldberg and Dagan 2015, https://aclanthology.org/Q15-1016, sections 2 and 3 (PPMI, context distribution
    smoothing with exponent 0.75, symmetric singular vectors). Factorised as in Halko, Martinsson and Tropp 2011, section 4.4.

    Example:

    >>> cats, cars = [5, 6, 7, 6, 5, 7], [8, 9, 10, 9, 10, 8]
    >>> vectors = cooccurrence_vectors([cats, cars] * 3, vocab_size=11, vector_size=2)
    >>> bool(vectors[5] @ vectors[6] > 0 > vectors[5] @ vectors[8])
    True
    """
    if window < 1:
        raise ValueError(f"`window` must be at least 1 token, got {window}.")
    if not 0 < vector_size < vocab_size:
        raise ValueError(
            f"`vector_size` must lie between 1 and `vocab_size` - 1 ({vocab_size - 1}), got {vector_size}."
        )
    counts = _pair_counts(rows, vocab_size, window, ignored_ids)
    if counts.values().numel() == 0:
        raise ValueError("`rows` has no two neighbouring tokens. Give more text, or a larger `window`.")
    information = _positive_information(counts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, singular_values, _ = torch.svd_lowrank(information, q=min(vocab_size, vector_size + 10), niter=2)
    vectors = left[:, :vector_size] * singular_values[:vector_size].sqrt()
    seen = torch.zeros(vocab_size, dtype=torch.bool)
    seen[counts.indices()[0]] = True
    vectors = vectors - vectors[seen].mean(dim=0)
    return torch.where(seen[:, None], torch.nn.functional.normalize(vectors, dim=1), 0.0)


def _pair_counts(
    rows: Iterable[Sequence[int]], vocab_size: int, window: int, ignored_ids: Sequence[int]
) -> torch.Tensor:
    """Return how often each ordered pair stands together: coalesced sparse, `(vocab_size, vocab_size)`, symmetric."""
    tensors = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    # one long text with gaps of `window` fillers, so that no pair crosses rows
    filler = torch.full((window,), -1)
    tokens = torch.cat([part for row in tensors for part in (row, filler)] or [filler])
    if ignored_ids:
        tokens = torch.where(torch.isin(tokens, torch.tensor(list(ignored_ids))), -1, tokens)
    codes = []
    for distance in range(1, window + 1):
        first, second = tokens[:-distance], tokens[distance:]
        both = (first >= 0) & (second >= 0)
        codes.append(first[both] * vocab_size + second[both])
    pairs, values = _count_distinct(torch.cat(codes), vocab_size**2)
    indices = torch.stack([pairs // vocab_size, pairs % vocab_size])
    both_ways = torch.cat([indices, indices.flip(0)], dim=1)
    return torch.sparse_coo_tensor(
        both_ways, values.float().repeat(2), (vocab_size, vocab_size), check_invariants=False
    ).coalesce()


def _count_distinct(codes: torch.Tensor, num_codes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct numbers among `codes`, each in `[0, num_codes)`, in order, and how often each stands there."""
    if num_codes > DENSE_COUNTS:
        return torch.unique(codes, return_counts=True)
    counts = torch.bincount(codes, minlength=num_codes)
    distinct = counts.nonzero().squeeze(1)
    return distinct, counts[distinct]


def _positive_information(counts: torch.Tensor) -> torch.Tensor:
    """Return `max(0, log(p(pair) / (p(token) * smoothed p(context))))` of every pair that occurs."""
    token, context = counts.indices()
    totals = torch.zeros(counts.shape[0]).index_add_(0, token, counts.values())
    smoothed = totals**0.75
    smoothed = smoothed / smoothed.sum()
    values = (counts.values() / (totals[token] * smoothed[context])).log()
    kept = values > 0
    return torch.sparse_coo_tensor(
        counts.indices()[:, kept], values[kept], counts.shape, is_coalesced=True, check_invariants=False
    )
