"""Fixtures of the whole suite."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may reach for the Hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from electra_plus.data.tokenization import train_wordpiece_tokenizer

# for other processes, with imports of their own
collect_ignore = [
    "models/transformers_suite.py",
    "hub/reach_elsewhere.py",
    "conversion/tensorflow_checkpoints/write_checkpoints.py",
]

CORPUS = [
    "I really love this book, it is a great and moving story.",
    "This phone is terrible, the battery died after two days.",
    "The cat sat on the mat while the dog was sleeping under the table.",
    "We walked along the river and talked about the weather in London.",
    "我很喜欢这本书，故事非常好看。",
]


@pytest.fixture(autouse=True)
def _deterministic():
    torch.manual_seed(0)


@pytest.fixture
def one_thread():
    """Models this small lose time by threads, a lot of it where other processes share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer():
    """A WordPiece tokenizer of 99 tokens, the vocabulary of the test configurations."""
    tokenizer = train_wordpiece_tokenizer(CORPUS * 5, vocab_size=99, model_max_length=64)
    assert len(tokenizer) == 99
    return tokenizer
