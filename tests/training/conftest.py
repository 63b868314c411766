"""Fixtures of the training tests."""

import pytest

from electra_plus.data.corpus import TokenRows, pack_rows, read_documents
from electra_plus.samples import sample_path


@pytest.fixture(scope="session")
def real_rows(tokenizer) -> TokenRows:
    """Rows of 32 tokens from a real book."""
    documents = list(read_documents([sample_path("held_out_book.txt.gz")]))
    return pack_rows([documents[0][:60]], tokenizer, row_length=32)
