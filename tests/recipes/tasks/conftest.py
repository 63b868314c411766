"""What the tests of tasks share: a tokenizer whose ids one can read, and examples."""

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from electra_plus.data.example_files import Row

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "cat",
    "sat",
    "##s",
    "on",
    "the",
    "mat",
    "who",
    "?",
    "我",
    "在",
    "北",
    "京",
    ".",
]


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of the words above, numbered in their order."""
    backend = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"], model_max_length=64,
    )  # fmt: skip


@pytest.fixture(scope="session")
def examples():
    """Makes rows that know their place from dicts."""
    return lambda *tables: [Row(table, f"`a.jsonl` line {number}") for number, table in enumerate(tables, start=1)]
