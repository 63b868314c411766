"""Tiny models, a tokenizer and comparisons that the tests of pipelines share."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from model_helpers import joint_config, small_config

import electra_plus
from electra_plus.data.tokenization import train_wordpiece_tokenizer

# Begins the code of a process in which this package cannot be found.
WITHOUT_PACKAGE = """
import json, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "electra_plus":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
"""
SENTENCES = (
    "The film opens in a small town by the sea.",
    "Nobody there has seen the captain for years.",
    "我很喜欢这本书。",
    "Mr. Gray, who owns the mill, lies about it twice!",
    "Then the music stops and a child sings alone.",
)
SHORT = " ".join(SENTENCES[:2])
LONG = " ".join(SENTENCES * 6)


@cache
def _trained():
    return train_wordpiece_tokenizer(list(SENTENCES) * 3, 400, model_max_length=64)


def small_tokenizer():
    """WordPiece of a few hundred tokens, rows of at most 64; a copy, as a pipeline that writes text turns its padding to the left."""
    return copy.deepcopy(_trained())


def build(head, tokenizer=None, flavour="modern", **fields):
    """Return a model of two layers whose scores differ clearly."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer or small_tokenizer()), "max_position_embeddings": 64, "initializer_range": 0.3}
    if head == "PreTraining":
        return electra_plus.ElectraPlusForPreTraining(joint_config(flavour, generator=sizes, **sizes, **fields)).eval()
    return getattr(electra_plus, f"ElectraPlusFor{head}")(small_config(flavour, **{**sizes, **fields})).eval()


def stock(head, **fields):
    """The same with transformers' own classes."""
    torch.manual_seed(0)
    config = transformers.ElectraConfig(
        vocab_size=len(small_tokenizer()),
        embedding_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
        **fields,
    )
    return getattr(transformers, f"ElectraFor{head}")(config).eval()


def translator():
    """Return an encoder-decoder with random weights."""
    decoder = build("CausalLM", flavour="classic", is_decoder=True, add_cross_attention=True)
    encoder = electra_plus.ElectraPlusModel(
        small_config(vocab_size=len(small_tokenizer()), max_position_embeddings=64, initializer_range=0.3)
    )
    model = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = small_tokenizer().cls_token_id
        config.pad_token_id = small_tokenizer().pad_token_id
        config.eos_token_id = small_tokenizer().sep_token_id
    return model


def marian():
    """Return a stock sequence-to-sequence model."""
    config = transformers.MarianConfig(
        vocab_size=len(small_tokenizer()),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    torch.manual_seed(0)
    return transformers.MarianMTModel(config).eval()


def make_pipe(task, model, tokenizer=None, **kwargs):
    """`electra_plus.pipeline` with the small tokenizer."""
    return electra_plus.pipeline(task, model, tokenizer=tokenizer or small_tokenizer(), device="cpu", **kwargs)


def assert_same(found, expected):
    """The same answers with scores within 1e-5, which is what batches of other shapes change."""
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, (float, np.floating)):
        assert found == pytest.approx(expected, abs=1e-5)
    else:
        assert found == expected
