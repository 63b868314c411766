"""State dicts of other training scripts: whose they are is told by their names, and nothing in them runs."""

import sys
import types

import pytest
import torch
import transformers
from conversion_helpers import perturbed, weights
from head_helpers import batch_for, scores_of
from model_helpers import VOCAB_SIZE, text_batch
from torch import nn

import electra_plus
from electra_plus.cli.main import main
from electra_plus.conversion import from_stock, plan_from_stock

SIZES = {"vocab_size": VOCAB_SIZE, "embedding_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 40}


def networks(share: bool = True):
    """Generator and discriminator of transformers, one head of 64 in each, as both scripts make them."""
    generator = perturbed(
        transformers.ElectraForMaskedLM(
            transformers.ElectraConfig(hidden_size=32, num_attention_heads=1, intermediate_size=48, **SIZES)
        )
    )
    discriminator = perturbed(
        transformers.ElectraForPreTraining(
            transformers.ElectraConfig(hidden_size=64, num_attention_heads=1, intermediate_size=96, **SIZES)
        )
    )
    if share:
        discriminator.electra.embeddings = generator.electra.embeddings
    return generator, discriminator


class Adapter(nn.Module):
    """`LogitsAdapter` of lucidrains/electra-pytorch, pretraining/openwebtext/pretrain.py."""

    def __init__(self, adaptee):
        super().__init__()
        self.adaptee = adaptee


class Both(nn.Module):
    """`ELECTRAModel` of richarddwang/electra_pytorch and `Electra` of lucidrains/electra-pytorch."""

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


def prefixed(tensors: dict, prefix: str) -> dict:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.fixture
def fastai_list(monkeypatch):
    """fastcore.foundation.L, which the state of fastai's optimizers holds."""
    module = types.ModuleType("fastcore.foundation")
    module.L = type("L", (), {"__module__": "fastcore.foundation"})
    monkeypatch.setitem(sys.modules, "fastcore", types.ModuleType("fastcore"))
    monkeypatch.setitem(sys.modules, "fastcore.foundation", module)
    made = module.L()
    made.items = [{"lr": 1e-3}]
    return made


def state_dict(style: str, generator, discriminator, fastai_list) -> dict:
    if style == "richarddwang":
        model = Both(generator, discriminator).state_dict()
        return {"model": model, "opt": {"state": [{"step": 3}], "hypers": fastai_list}}
    if style == "lucidrains":
        return prefixed(Both(Adapter(generator), Adapter(discriminator)).state_dict(), "module.")
    if style == "compiled":
        return {"state_dict": prefixed(Both(generator, discriminator).state_dict(), "_orig_mod.")}
    return prefixed(generator.state_dict(), "generator.") | discriminator.state_dict()


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("style", ["richarddwang", "lucidrains", "compiled", "our own"])
def test_both_networks_come_out_as_they_were(style, share, tmp_path, fastai_list, monkeypatch):
    generator, discriminator = networks(share)
    torch.save(state_dict(style, generator, discriminator, fastai_list), tmp_path / "trained.pth")
    monkeypatch.delitem(sys.modules, "fastcore.foundation")  # where it is converted, fastai need not be
    assert from_stock(tmp_path / "trained.pth", tmp_path / "joint") == {tmp_path / "joint": "ElectraPlusForPreTraining"}
    joint = electra_plus.ElectraPlusForPreTraining.from_pretrained(tmp_path / "joint").eval()
    assert joint.config.embedding_sharing == ("all" if share else "none")
    batch = text_batch()
    with torch.no_grad():
        for ours, theirs in ((joint, discriminator), (joint.generator, generator)):
            torch.testing.assert_close(ours(**batch).logits, theirs(**batch).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", ["discriminator", "generator"])
def test_one_of_both_networks(part, tmp_path, fastai_list):
    generator, discriminator = networks()
    torch.save(state_dict("lucidrains", generator, discriminator, fastai_list), tmp_path / "trained.pt")
    arguments = ["convert", "--model", str(tmp_path / "trained.pt"), "--part", part, "--to", "electra-plus"]
    assert main([*arguments, "--output", str(tmp_path / "ours")]) == 0
    before = {"discriminator": discriminator, "generator": generator}[part]
    tied = {"generator_lm_head.weight"} if part == "generator" else set()
    found, expected = weights(tmp_path / "ours"), before.state_dict()
    assert found.keys() == expected.keys() - tied
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_linear_layer_on_hidden_states_has_no_place_and_is_named(tmp_path):
    """README of lucidrains/electra-pytorch, `discr_dim`: our detector head has a dense layer before."""
    generator, discriminator = networks()
    head = nn.Linear(64, 1).state_dict()
    tensors = prefixed(generator.state_dict(), "generator.") | prefixed(
        discriminator.state_dict(), "discriminator.0.net."
    )
    torch.save(tensors | prefixed(head, "discriminator.1."), tmp_path / "trained.pt")
    plan = plan_from_stock(tmp_path / "trained.pt")
    assert plan.unmatched == ["discriminator.1.weight", "discriminator.1.bias"] and not plan.missing


def test_one_encoder_with_two_heads_becomes_two_networks(tmp_path):
    """As google-research/electra with `untied_generator=False`, which saves one encoder."""
    _, discriminator = networks()
    generator = perturbed(transformers.ElectraForMaskedLM(discriminator.config))
    generator.electra = discriminator.electra
    generator.tie_weights()
    heads = {n: tensor for n, tensor in generator.state_dict().items() if not n.startswith("electra.")}
    torch.save(discriminator.state_dict() | prefixed(heads, "generator."), tmp_path / "trained.pt")
    from_stock(tmp_path / "trained.pt", tmp_path / "joint")
    joint = electra_plus.ElectraPlusForPreTraining.from_pretrained(tmp_path / "joint").eval()
    batch = text_batch()
    torch.testing.assert_close(joint(**batch).logits, discriminator(**batch).logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(joint.generator(**batch).logits, generator(**batch).logits, rtol=1e-5, atol=1e-5)

    del heads["generator_lm_head.weight"]
    masked_lm_alone = discriminator.electra.state_dict()
    torch.save(prefixed(masked_lm_alone, "electra.") | prefixed(heads, "generator."), tmp_path / "bert_objective.pt")
    assert from_stock(tmp_path / "bert_objective.pt", tmp_path / "alone") == {
        tmp_path / "alone": "ElectraPlusForMaskedLM"
    }
    with pytest.raises(ValueError, match="must hold a discriminator, got only a generator"):
        from_stock(tmp_path / "bert_objective.pt", tmp_path / "none", part="discriminator")


def test_masked_lm_alone_that_unties_its_tables(tmp_path):
    generator, _ = networks()
    tensors = generator.state_dict()
    tensors["generator_lm_head.weight"] = tensors["generator_lm_head.weight"] + 1
    torch.save(tensors, tmp_path / "trained.bin")
    from_stock(tmp_path / "trained.bin", tmp_path / "ours")
    ours = electra_plus.ElectraPlusForMaskedLM.from_pretrained(tmp_path / "ours")
    assert torch.equal(ours.generator_lm_head.weight, tensors["generator_lm_head.weight"])
    assert torch.equal(
        ours.electra.embeddings.word_embeddings.weight, tensors["electra.embeddings.word_embeddings.weight"]
    )


@pytest.mark.parametrize(
    ("stock_name", "our_name"),
    [
        ("ElectraModel", "ElectraPlusModel"),
        ("ElectraForPreTraining", "ElectraPlusForReplacedTokenDetection"),
        ("ElectraForSequenceClassification", "ElectraPlusForSequenceClassification"),
        ("ElectraForTokenClassification", "ElectraPlusForTokenClassification"),
        ("ElectraForQuestionAnswering", "ElectraPlusForQuestionAnswering"),
        ("ElectraForMultipleChoice", "ElectraPlusForMultipleChoice"),
    ],
)
def test_head_and_labels_are_told_by_names_and_shapes(stock_name, our_name, tmp_path):
    num_labels = 2 if our_name.endswith("Answering") else 3
    config = transformers.ElectraConfig(
        hidden_size=64, num_attention_heads=1, intermediate_size=96, num_labels=num_labels, **SIZES
    )
    stock = perturbed(getattr(transformers, stock_name)(config))
    torch.save(stock.state_dict(), tmp_path / "trained.pt")
    assert from_stock(tmp_path / "trained.pt", tmp_path / "ours") == {tmp_path / "ours": our_name}
    ours = getattr(electra_plus, our_name).from_pretrained(tmp_path / "ours").eval()
    batch = {name: tensor for name, tensor in batch_for(our_name).items() if "label" not in name}
    batch = {name: tensor for name, tensor in batch.items() if not name.endswith("_positions")}
    with torch.no_grad():
        outputs, expected = ours(**batch), stock(**batch)
    for name, score in scores_of(outputs, batch).items():
        torch.testing.assert_close(score, scores_of(expected, batch)[name], rtol=1e-5, atol=1e-5)


def test_heads_that_do_not_fit_are_asked_for(tmp_path):
    config = transformers.ElectraConfig(hidden_size=130, num_attention_heads=10, intermediate_size=16, **SIZES)
    torch.save(transformers.ElectraModel(config).state_dict(), tmp_path / "trained.pt")
    from_stock(tmp_path / "trained.pt", tmp_path / "two_heads")  # 130 // 64 of them
    assert electra_plus.ElectraPlusConfig.from_pretrained(tmp_path / "two_heads").num_attention_heads == 2
    config = transformers.ElectraConfig(hidden_size=201, num_attention_heads=3, intermediate_size=16, **SIZES)
    torch.save(transformers.ElectraModel(config).state_dict(), tmp_path / "odd.pt")
    from_stock(tmp_path / "odd.pt", tmp_path / "three_heads")
    config = transformers.ElectraConfig(hidden_size=135, num_attention_heads=3, intermediate_size=16, **SIZES)
    torch.save(transformers.ElectraModel(config).state_dict(), tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="`hidden_size` of 135.*--config"):
        from_stock(tmp_path / "odd.pt", tmp_path / "ours")
    (tmp_path / "config.json").write_text('{"num_attention_heads": 3}')
    from_stock(tmp_path / "odd.pt", tmp_path / "ours", config=tmp_path / "config.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.ones(2)}, "no tensor 'embeddings.word_embeddings.weight'"),
        ({"model": 3}, "without any"),
        ([torch.ones(2)], "got list without any"),
    ],
)
def test_something_else_is_told(content, message, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=message) as caught:
        from_stock(tmp_path / "other.pt", tmp_path / "ours")
    assert "\n" not in str(caught.value) and not (tmp_path / "ours").exists()
