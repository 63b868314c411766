"""Co-occurrence vectors against a plain count and a full factorisation."""

import pytest
import torch

from electra_plus.data import cooccurrence
from electra_plus.data.cooccurrence import cooccurrence_vectors


def plain_information(rows, vocab_size, window, ignored_ids=()):
    """Positive pointwise mutual information, one pair after the other."""
    counts = torch.zeros(vocab_size, vocab_size)
    for row in rows:
        for first in range(len(row)):
            for second in range(len(row)):
                near = 0 < abs(first - second) <= window
                if near and row[first] not in ignored_ids and row[second] not in ignored_ids:
                    counts[row[first], row[second]] += 1
    smoothed = counts.sum(1) ** 0.75
    expected = counts.sum(1)[:, None] * (smoothed / smoothed.sum())[None]
    return torch.where(counts > 0, (counts / expected).log().clamp(min=0), 0.0), counts.sum(1) > 0


@pytest.mark.parametrize("window", [1, 3, 10])
def test_similarities_are_those_of_a_full_factorisation(window):
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 20, (length,), generator=rng).tolist() for length in (1, 2, 7, 30, 63)]
    information, seen = plain_information(rows, 24, window, ignored_ids=(0, 1))
    left, singular_values, _ = torch.linalg.svd(information)
    expected = left[:, :6] * singular_values[:6].sqrt()
    expected = torch.nn.functional.normalize(expected - expected[seen].mean(0), dim=1) * seen[:, None]

    vectors = cooccurrence_vectors(rows, 24, 6, window=window, ignored_ids=(0, 1))

    # the signs of singular vectors are free, products of vectors are not; the randomised factorisation is approximate only
    # where it leaves singular values out, and 6 + 10 of at most 18 leaves almost none
    torch.testing.assert_close(vectors @ vectors.T, expected @ expected.T, rtol=0, atol=2e-2)
    assert not vectors[[0, 1, 20, 21, 22, 23]].any()  # ignored, or never seen


def test_pairs_do_not_cross_rows():
    vectors = cooccurrence_vectors([[0, 1], [2, 3]] * 3, vocab_size=4, vector_size=2, window=5)
    similarity = vectors @ vectors.T
    assert similarity[0, 1].abs() > similarity[0, 2] and similarity[0, 2] < 0.1


def test_same_seed_gives_the_same_vectors_and_leaves_the_random_state():
    rows = [list(range(10))] * 2
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = cooccurrence_vectors(rows, 12, 3, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, cooccurrence_vectors(rows, 12, 3, seed=1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"window": 0}, "`window` must be at least 1"),
        ({"vector_size": 12}, "`vector_size` must lie between 1 and"),
        ({"rows": [[3]]}, "no two neighbouring tokens"),
        ({"rows": []}, "no two neighbouring tokens"),
    ],
)
def test_refusals(arguments, text):
    with pytest.raises(ValueError, match=text):
        cooccurrence_vectors(**{"rows": [[1, 2, 3]], "vocab_size": 12, "vector_size": 2, **arguments})


def test_counters_and_sorting_count_the_same(monkeypatch):
    codes = torch.randint(0, 50, (1000,), generator=torch.Generator().manual_seed(0))
    dense = cooccurrence._count_distinct(codes, 60)
    monkeypatch.setattr(cooccurrence, "DENSE_COUNTS", 0)
    for ours, expected in zip(dense, cooccurrence._count_distinct(codes, 60), strict=True):
        assert torch.equal(ours, expected)
