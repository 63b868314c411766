"""The parameters of every head: their number after a change of vocabulary, and the values they start with."""

import math

import pytest
import torch
import transformers
from head_helpers import every_flavour, every_head, labelled_batch_for, make_model, objective
from model_helpers import VOCAB_SIZE, joint_config, small_config
from safetensors.torch import load_file, save_file

import electra_plus
from electra_plus import ElectraPlusForPreTraining

# ---- vocabulary size ----


def assert_vocabulary(model, size: int) -> None:
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == size
    output = model.get_output_embeddings()
    if output is not None:
        assert output.bias.shape == (size,) and output.out_features == size
        assert output.weight is getattr(model, "generator", model).get_input_embeddings().weight


@pytest.mark.parametrize("size", [60, 130])
@every_flavour
@every_head
def test_resized_vocabulary_serves_every_head(name, flavour, size, tmp_path):
    model = make_model(name, flavour)
    kept = min(size, VOCAB_SIZE)
    before = model.get_input_embeddings().weight[:kept].detach().clone()
    assert model.resize_token_embeddings(size) is model.get_input_embeddings()
    assert_vocabulary(model, size)
    assert torch.equal(model.get_input_embeddings().weight[:kept], before)
    batch = labelled_batch_for(name)
    batch["input_ids"] = batch["input_ids"] % size
    if name in ("ElectraPlusForMaskedLM", "ElectraPlusForCausalLM", "ElectraPlusForPreTraining"):
        batch["labels"] = torch.where(batch["labels"] < 0, -100, batch["labels"] % size)
    objective(model(**batch), batch).backward()

    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert_vocabulary(loaded, size)
    for (key, tensor), again in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(tensor, again), key


def bert_generator_config() -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )  # fmt: skip


@pytest.mark.parametrize("generator", ["own", "bert"])
@pytest.mark.parametrize("sharing", ["all", "word", "none"])
def test_resized_joint_model_keeps_its_ties(sharing, generator, tmp_path):
    overrides = {"generator_config": bert_generator_config()} if generator == "bert" else {"generator": {}}
    make_config = small_config if generator == "bert" else joint_config
    model = ElectraPlusForPreTraining(make_config("classic", embedding_sharing=sharing, **overrides))
    model.resize_token_embeddings(130)
    model.save_pretrained(tmp_path)
    for joint in (model, ElectraPlusForPreTraining.from_pretrained(tmp_path)):
        assert_vocabulary(joint, 130)
        assert joint.config.generator_config.vocab_size == joint.generator.config.vocab_size == 130
        tables = joint.get_input_embeddings().weight, joint.generator.get_input_embeddings().weight
        assert (tables[0] is tables[1]) == (sharing != "none")
    assert transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).config.vocab_size == 130


@every_head
def test_head_of_a_joint_folder_can_be_resized_and_saved(name, tmp_path):
    ElectraPlusForPreTraining(joint_config()).save_pretrained(tmp_path / "joint")
    model_class = getattr(electra_plus, name)
    model = model_class.from_pretrained(tmp_path / "joint")
    model.resize_token_embeddings(130)
    model.save_pretrained(tmp_path / "head")
    assert_vocabulary(model_class.from_pretrained(tmp_path / "head"), 130)


# ---- initialisation ----


def expected_std(model: torch.nn.Module, name: str) -> float:
    """Standard deviation that a weight matrix starts with, by the configuration of the network it belongs to."""
    config = model.config.generator_config if name.startswith("generator.") else model.config
    residual = name.endswith("output.dense.weight")
    return config.initializer_range / (
        math.sqrt(2 * config.num_hidden_layers) if residual and config.depth_scaled_init else 1
    )


def assert_initialised(model: torch.nn.Module, name: str, parameter: torch.Tensor) -> None:
    if name.endswith("bias"):
        assert not parameter.any(), name
    elif "norm" in name.lower():
        assert (parameter == 1).all(), name
    else:
        if name.endswith("word_embeddings.weight"):
            assert not parameter[model.config.pad_token_id].any()
            parameter = parameter[model.config.pad_token_id + 1 :]
        # five standard errors of a standard deviation estimated from so many draws
        tolerance = 5 / math.sqrt(2 * parameter.numel())
        assert parameter.std(correction=0).item() == pytest.approx(expected_std(model, name), rel=tolerance), name


@pytest.mark.parametrize("built", ["new", "loaded"])
@every_flavour
@every_head
def test_parameters_start_as_configured_also_when_the_file_lacks_them(name, flavour, built, tmp_path):
    overrides = {"initializer_range": 0.05}
    if name == "ElectraPlusForPreTraining":
        # other values than the discriminator's, so that a mix-up would show
        overrides |= {"generator": {"initializer_range": 0.2, "num_hidden_layers": 1}, "embedding_sharing": "none"}
    model = make_model(name, flavour, **overrides)
    kept = set()
    if built == "loaded":
        model.save_pretrained(tmp_path)
        stored = load_file(tmp_path / "model.safetensors")
        kept = {key for key in stored if ".layer.0." in key}
        save_file(
            {key: torch.full_like(stored[key], 7) for key in kept}, tmp_path / "model.safetensors", {"format": "pt"}
        )
        model = type(model).from_pretrained(tmp_path)
    for key, parameter in model.named_parameters():
        if key in kept:
            assert (parameter == 7).all(), key
        else:
            assert_initialised(model, key, parameter.detach())
    # positions are computed, not stored: nothing outside the parameters can be left unfilled
    assert not list(model.buffers())


def test_buffers_of_a_foreign_generator_are_filled(tmp_path):
    model = ElectraPlusForPreTraining(small_config(generator_config=bert_generator_config(), embedding_sharing="word"))
    model.save_pretrained(tmp_path)
    buffers = dict(ElectraPlusForPreTraining.from_pretrained(tmp_path).named_buffers())
    assert buffers.keys() == dict(model.named_buffers()).keys()
    for name, expected in model.named_buffers():
        assert torch.equal(buffers[name], expected), name
    assert buffers["generator.bert.embeddings.position_ids"].tolist() == [list(range(128))]
