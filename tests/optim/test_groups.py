"""Parameter groups: every parameter once, with the rate, decay and network that its name asks for."""

import pytest
import torch
from model_helpers import joint_config

from electra_plus import ElectraPlusForPreTraining
from electra_plus.optim.groups import (
    depth_of,
    is_hidden_matrix,
    learning_rate_multiplier,
    network_of,
    parameter_groups,
)

NAMES = {
    "electra.embeddings.word_embeddings.weight": 0,
    "electra.embeddings_project.weight": 0,
    "electra.encoder.layer.0.attention.self.query.weight": 1,
    "electra.encoder.layer.1.output.dense.weight": 2,
    "classifier.out_proj.weight": 3,
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ElectraPlusForPreTraining(joint_config("modern"))


def test_depth_of_names():
    assert {name: depth_of(name, num_layers=2) for name in NAMES} == NAMES


def test_multipliers_of_paper_and_release():
    paper = [learning_rate_multiplier(name, 2, 0.5) for name in NAMES]
    released = [learning_rate_multiplier(name, 2, 0.5, as_released=True) for name in NAMES]
    assert paper == [1 / 8, 1 / 8, 1 / 4, 1 / 2, 1]
    assert released == [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1]


def test_every_trainable_parameter_is_in_one_group(model):
    model.generator.electra.encoder.layer[0].requires_grad_(False)
    try:
        groups = parameter_groups(
            model.named_parameters(), [], learning_rate=1.0, weight_decay=0.1, separate_networks=True
        )
        grouped = [id(p) for group in groups for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    finally:
        model.requires_grad_(True)


def test_networks_have_their_own_numbers(model):
    decay = {name for name, p in model.named_parameters() if p.ndim == 2}
    groups = parameter_groups(
        model.named_parameters(),
        decay,
        learning_rate=1.0,
        weight_decay=0.1,
        generator_learning_rate=3.0,
        generator_weight_decay=0.2,
    )
    found = {(group["network"], group["lr"], group["weight_decay"]) for group in groups}
    assert found == {("discriminator", 1.0, 0.1), ("discriminator", 1.0, 0.0), ("generator", 3.0, 0.2), ("generator", 3.0, 0.0)}  # fmt: skip
    names = {id(p): name for name, p in model.named_parameters()}
    for group in groups:
        assert {network_of(names[id(p)]) for p in group["params"]} == {group["network"]}


def test_without_numbers_for_the_generator_there_is_one_network(model):
    groups = parameter_groups(model.named_parameters(), [], learning_rate=1.0, weight_decay=0.1)
    assert [group["network"] for group in groups] == ["main"]


def test_muon_gets_matrices_of_layers_only(model):
    groups = parameter_groups(
        model.named_parameters(), [], learning_rate=1.0, weight_decay=0.0, use_muon=is_hidden_matrix
    )
    names = {id(p): name for name, p in model.named_parameters()}
    of_muon = [names[id(p)] for group in groups if group["use_muon"] for p in group["params"]]
    assert of_muon and all(".layer." in name for name in of_muon)
    others = [names[id(p)] for group in groups if not group["use_muon"] for p in group["params"]]
    assert any("word_embeddings" in name for name in others)
