"""A checkpoint opens as what it was trained to be, and never with a random head."""

import pytest
import torch
import transformers
from model_helpers import small_config

from electra_plus import (
    ElectraPlusForCausalLM,
    ElectraPlusForMaskedLM,
    ElectraPlusForReplacedTokenDetection,
    ElectraPlusForSequenceClassification,
)
from electra_plus.recipes.evaluation.loading import fingerprint, load_networks


def saved(model, folder, tokenizer) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_joint_checkpoint_gives_detector_and_generator(joint_folder):
    networks = load_networks(joint_folder)
    assert isinstance(networks.detector, ElectraPlusForReplacedTokenDetection)
    assert isinstance(networks.masked_lm, ElectraPlusForMaskedLM) and networks.causal_lm is None
    assert networks.masked_lm.config.num_hidden_layers == 1  # the generator, not the discriminator
    assert not networks.detector.training and not networks.masked_lm.training


@pytest.mark.parametrize(
    ("model_class", "name", "fields"),
    [
        (ElectraPlusForReplacedTokenDetection, "detector", {}),
        (ElectraPlusForMaskedLM, "masked_lm", {}),
        (ElectraPlusForCausalLM, "causal_lm", {"is_decoder": True}),
    ],
)
def test_single_network_is_found_by_its_class(model_class, name, fields, tmp_path, tokenizer):
    model = model_class(small_config("modern", **fields)).half()
    networks = load_networks(saved(model, tmp_path, tokenizer))
    found = {kind: getattr(networks, kind) for kind in ("detector", "masked_lm", "causal_lm")}
    assert [kind for kind, network in found.items() if network is not None] == [name]
    assert type(found[name]) is model_class and found[name].dtype == torch.float32


def test_stock_electra_is_a_detector(tmp_path, tokenizer):
    sizes = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    stock = transformers.ElectraForPreTraining(
        transformers.ElectraConfig(vocab_size=99, intermediate_size=64, **sizes)
    ).eval()
    detector = load_networks(saved(stock, tmp_path, tokenizer)).detector
    ids = torch.arange(5, 20)[None]
    with torch.no_grad():
        assert torch.allclose(detector(ids).logits, stock(ids).logits, atol=1e-5)


def test_head_that_predicts_no_tokens_is_refused(tmp_path, tokenizer):
    folder = saved(ElectraPlusForSequenceClassification(small_config()), tmp_path, tokenizer)
    with pytest.raises(ValueError, match="holds the class ElectraPlusForSequenceClassification"):
        load_networks(folder)


def test_missing_head_is_refused(tmp_path, tokenizer):
    model = ElectraPlusForReplacedTokenDetection(small_config())
    kept = {name: value for name, value in model.state_dict().items() if name.startswith("electra.")}
    model.save_pretrained(tmp_path, state_dict=kept)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="lacks weights of .*'discriminator_predictions.*random"):
        load_networks(str(tmp_path))


def test_missing_checkpoint_and_tokenizer_are_said_in_one_line(tmp_path):
    with pytest.raises(OSError, match="`--generator nowhere` is no checkpoint"):
        load_networks("nowhere", "--generator")
    ElectraPlusForReplacedTokenDetection(small_config()).save_pretrained(tmp_path)
    with pytest.raises(OSError, match="holds no tokenizer"):
        load_networks(str(tmp_path))


def test_tokenizer_of_another_model_is_refused(tmp_path, tokenizer):
    folder = saved(ElectraPlusForReplacedTokenDetection(small_config(vocab_size=50)), tmp_path, tokenizer)
    with pytest.raises(ValueError, match="a tokenizer of 99 tokens and a model of 50"):
        load_networks(folder)


def test_fingerprint_follows_the_weights(tmp_path):
    model = ElectraPlusForReplacedTokenDetection(small_config())
    model.save_pretrained(tmp_path)
    before = fingerprint(str(tmp_path))
    torch.save({}, tmp_path / "training_args.bin")
    assert fingerprint(str(tmp_path)) == before
    with torch.no_grad():
        model.discriminator_predictions.dense.bias.add_(1)
    model.save_pretrained(tmp_path)
    assert fingerprint(str(tmp_path)) != before
