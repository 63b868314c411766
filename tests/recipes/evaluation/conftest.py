"""Checkpoints that evaluation opens: tiny, random, saved once."""

from types import SimpleNamespace

import pytest
import torch
from model_helpers import joint_config
from torch import nn

from electra_plus import ElectraPlusForPreTraining


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Every test here runs models."""


@pytest.fixture(scope="session")
def joint_folder(tmp_path_factory, tokenizer) -> str:
    """A joint checkpoint with its tokenizer, whose scores differ visibly from token to token."""
    folder = tmp_path_factory.mktemp("evaluation") / "joint"
    torch.manual_seed(0)
    joint = ElectraPlusForPreTraining(joint_config("modern"))
    with torch.no_grad():
        for parameter in joint.parameters():
            parameter.mul_(3)
    joint.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class TokenTable(nn.Module):
    """A detector by hand: one logit for every token of the vocabulary, wherever it stands."""

    device = torch.device("cpu")

    def __init__(self, logits: torch.Tensor):
        super().__init__()
        self.logits = logits
        self.config = SimpleNamespace(max_position_embeddings=64)

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(logits=self.logits[input_ids])


@pytest.fixture
def token_table():
    """The class, for tests that choose the logits."""
    return TokenTable
