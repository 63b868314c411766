"""torchao's int8 weights through `from_pretrained`: scores within rounding, a smaller file, the same scores from it."""

import pytest
import torch
from head_helpers import batch_for, every_flavour, every_head, make_model, scores_of
from pipeline_helpers import SENTENCES, assert_same, build, small_tokenizer
from torch import nn
from transformers import TorchAoConfig

import electra_plus

pytestmark = pytest.mark.slow

quantization = pytest.importorskip("torchao.quantization")

METHODS = ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"]


def scores(model, batch):
    with torch.no_grad():
        return scores_of(model.eval()(**batch), batch)


@pytest.mark.parametrize("method", METHODS)
@every_flavour
@every_head
def test_int8_scores_are_close_and_the_same_after_a_reload(name, flavour, method, tmp_path):
    model, batch = make_model(name, flavour), batch_for(name)
    model.save_pretrained(tmp_path / "float32")
    config = TorchAoConfig(getattr(quantization, method)())
    quantized = type(model).from_pretrained(tmp_path / "float32", quantization_config=config)
    linear = [module for module in quantized.base_model.modules() if isinstance(module, nn.Linear)]
    assert linear and all(type(module.weight).__name__ == "Int8Tensor" for module in linear)
    expected, found = scores(model, batch), scores(quantized, batch)
    for key in expected:
        # a step of 8 bits is 1/127 of the largest number of a row, of weights and with one method of states as well
        assert 0 < (found[key] - expected[key]).abs().max() <= 0.05 * expected[key].abs().max()
    quantized.save_pretrained(tmp_path / "int8")
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("float32", "int8")]
    assert sizes[1] < 0.7 * sizes[0]  # tables stay as they are
    again = scores(type(model).from_pretrained(tmp_path / "int8"), batch)
    assert all(torch.equal(again[key], found[key]) for key in found)


@every_flavour
def test_pipeline_opens_the_quantized_folder(flavour, tmp_path):
    model = build("SequenceClassification", flavour=flavour, num_labels=3)
    model.save_pretrained(tmp_path / "float32")
    config = TorchAoConfig(quantization.Int8DynamicActivationInt8WeightConfig())
    quantized = type(model).from_pretrained(tmp_path / "float32", quantization_config=config)
    for folder in ("float32", "int8"):
        small_tokenizer().save_pretrained(tmp_path / folder)
    quantized.save_pretrained(tmp_path / "int8")
    answers = electra_plus.pipeline("text-classification", str(tmp_path / "int8"), device="cpu")(list(SENTENCES))
    whole = electra_plus.pipeline("text-classification", str(tmp_path / "float32"), device="cpu")(list(SENTENCES))
    assert [one["label"] for one in answers] == [one["label"] for one in whole]
    assert [one["score"] for one in answers] == pytest.approx([one["score"] for one in whole], abs=0.05)
    in_memory = electra_plus.pipeline("text-classification", quantized, tokenizer=small_tokenizer(), device="cpu")
    assert_same(answers, in_memory(list(SENTENCES)))
