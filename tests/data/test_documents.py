"""Duplicates, the held-out part and the tokenizer's sample depend on the text of documents, not on their order."""

import random

from electra_plus.data.documents import SeenDocuments, document_key, sample_documents

DOCUMENTS = [[f"document {number}", "end"] for number in range(2000)]


def test_key_is_the_same_for_the_same_paragraphs_only():
    assert document_key(["a", "b"]) == document_key(["a", "b"])
    assert len({document_key(paragraphs).identity for paragraphs in (["a", "b"], ["ab"], ["a b"], ["b", "a"])}) == 4


def test_fraction_held_out_is_the_one_asked_for():
    held_out = sum(document_key(document).held_out_draw < 0.1 for document in DOCUMENTS)
    assert abs(held_out - 200) < 55  # four standard deviations of 13.4


def test_seen_documents_are_those_of_a_set():
    rng = random.Random(0)
    numbers = [rng.choice([0, 1, 2**64 - 1, rng.randrange(2**64), rng.randrange(3000) << 10]) for _ in range(20_000)]
    seen, reference = SeenDocuments(), set()
    for number in numbers:
        # 0 and 1 count as one: 0 marks a free slot
        assert seen.add(number) == ((number or 1) not in reference)
        reference.add(number or 1)
    assert len(seen) == len(reference)


def test_sample_depends_on_the_documents_and_not_on_their_order_or_number():
    shuffled = random.Random(1).sample(DOCUMENTS * 2, 4000)
    sample = sample_documents(DOCUMENTS, 5000, held_out_fraction=0.1)
    assert sample == sample_documents(shuffled, 5000, held_out_fraction=0.1)
    size = sum(len(paragraph) for document in sample for paragraph in document)
    assert 4900 < size <= 5000
    assert all(document_key(document).held_out_draw >= 0.1 for document in sample)
    draws = [document_key(document).sample_draw for document in sample]
    # the smallest draws: of 1800 documents of about 16 characters, one in 5.8
    assert draws == sorted(draws) and abs(max(draws) - 5000 / (0.9 * 2000 * 15.9)) < 0.04


def test_sample_of_a_small_corpus_is_all_of_it():
    assert sorted(sample_documents(DOCUMENTS[:50], 10**6, 0.0)) == sorted(DOCUMENTS[:50])
    assert sample_documents([["a" * 100]], 10, 0.0) == [["a" * 100]]
