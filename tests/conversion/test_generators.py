"""Any masked LM of transformers generates for a discriminator: both give the scores they gave alone."""

import json

import pytest
import torch
import transformers
from conversion_helpers import assert_bit_equal, perturbed, saved, weights
from head_helpers import make_model
from model_helpers import VOCAB_SIZE, masked_batch, text_batch

import electra_plus
from electra_plus.cli.main import main
from electra_plus.conversion import from_stock, plan_from_stock, to_stock

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
FIELDS = {
    "bert": {"type_vocab_size": 2},
    "roberta": {"type_vocab_size": 2, "max_position_embeddings": 60},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
                   "type_vocab_size": 0, "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_buckets": 8},
    "albert": {"embedding_size": 16},
    "modernbert": {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
    "electra": {"embedding_size": 16},
}  # fmt: skip


def masked_lm(model_type: str, **overrides):
    config = transformers.AutoConfig.for_model(
        model_type, vocab_size=VOCAB_SIZE, **{**SIZES, **FIELDS[model_type], **overrides}
    )
    return perturbed(transformers.AutoModelForMaskedLM.from_config(config))


def detector_folder(folder):
    return saved(perturbed(make_model("ElectraPlusForReplacedTokenDetection", "classic", local_attention=128)), folder)


@pytest.mark.parametrize("model_type", FIELDS)
def test_masked_lm_of_any_type_joins_a_detector_of_ours(model_type, tmp_path):
    before = masked_lm(model_type)
    saved(before, tmp_path / "generator")
    detector_folder(tmp_path / "detector")
    arguments = ["--model", str(tmp_path / "detector"), "--generator", str(tmp_path / "generator")]
    assert main(["convert", *arguments, "--to", "electra-plus", "--output", str(tmp_path / "joint")]) == 0

    joint, info = electra_plus.ElectraPlusForPreTraining.from_pretrained(tmp_path / "joint", output_loading_info=True)
    assert not any(info.values())
    joint.eval()
    batch = text_batch()
    kept = batch["attention_mask"] == 1
    detector = electra_plus.ElectraPlusForReplacedTokenDetection.from_pretrained(tmp_path / "detector").eval()
    inputs = {name: tensor for name, tensor in batch.items() if model_type != "modernbert" or name != "token_type_ids"}
    with torch.no_grad():
        torch.testing.assert_close(
            joint.generator(**inputs).logits[kept], before(**inputs).logits[kept], rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(joint(**batch).logits[kept], detector(**batch).logits[kept], rtol=1e-5, atol=1e-5)
        masked = masked_batch()
        if model_type == "modernbert":
            del masked["token_type_ids"]
        assert joint(**masked).loss.isfinite()


def test_generator_of_another_type_comes_out_as_it_went_in(tmp_path):
    saved(masked_lm("roberta"), tmp_path / "generator")
    detector_folder(tmp_path / "detector")
    from_stock(tmp_path / "detector", tmp_path / "joint", generator=tmp_path / "generator")
    written = to_stock(tmp_path / "joint", tmp_path / "parts")
    assert written[tmp_path / "parts" / "generator"] == "RobertaForMaskedLM"
    assert_bit_equal(weights(tmp_path / "parts" / "generator"), weights(tmp_path / "generator"))
    assert to_stock(tmp_path / "joint", tmp_path / "alone", part="generator") == {
        tmp_path / "alone": "RobertaForMaskedLM"
    }
    assert_bit_equal(weights(tmp_path / "alone"), weights(tmp_path / "generator"))


def test_generator_of_ours_becomes_a_bert_alone(tmp_path):
    joint = perturbed(
        electra_plus.ElectraPlusForPreTraining.from_generator_discriminator(
            make_model("ElectraPlusForMaskedLM", "classic", local_attention=128),
            make_model("ElectraPlusForReplacedTokenDetection", "classic", local_attention=128),
        )
    )
    saved(joint, tmp_path / "joint")
    with pytest.raises(ValueError, match="--part generator"):
        to_stock(tmp_path / "joint", tmp_path / "bert", model_type="bert")
    assert to_stock(tmp_path / "joint", tmp_path / "bert", model_type="bert", part="generator") == {
        tmp_path / "bert": "BertForMaskedLM"
    }
    bert = transformers.BertForMaskedLM.from_pretrained(tmp_path / "bert").eval()
    batch = text_batch()
    torch.testing.assert_close(bert(**batch).logits, joint.generator(**batch).logits, rtol=1e-5, atol=1e-5)


def test_generator_that_lies_beside_deberta_v3(tmp_path):
    """Names and files of microsoft/deberta-v3-*: generator_config.json, pytorch_model.generator.bin, lm_predictions."""
    before = masked_lm("deberta-v2")
    folder = tmp_path / "deberta-v3"
    folder.mkdir()
    config = {name: value for name, value in before.config.to_dict().items() if name not in ("architectures", "legacy")}
    (folder / "generator_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "deberta-v2", "hidden_size": 64}))
    tensors = {}
    for name, tensor in before.state_dict().items():
        if not name.startswith("cls.predictions.decoder"):
            name = name.replace("cls.predictions.transform.", "lm_predictions.lm_head.")
            tensors[name.replace("cls.predictions.bias", "lm_predictions.lm_head.bias")] = tensor
    tensors["deberta.embeddings.position_embeddings.weight"] = torch.ones(5, 32)
    torch.save(tensors, folder / "pytorch_model.generator.bin")
    torch.save({"deberta.other": torch.ones(3)}, folder / "pytorch_model.bin")

    detector_folder(tmp_path / "detector")
    plan = plan_from_stock(tmp_path / "detector", generator=folder)
    assert not plan.unmatched and not plan.missing and "enhanced mask decoder" in str(plan)
    from_stock(tmp_path / "detector", tmp_path / "joint", generator=folder)
    joint = electra_plus.ElectraPlusForPreTraining.from_pretrained(tmp_path / "joint").eval()
    batch = text_batch()
    kept = batch["attention_mask"] == 1
    torch.testing.assert_close(
        joint.generator(**batch).logits[kept], before(**batch).logits[kept], rtol=1e-5, atol=1e-5
    )


def test_pooler_of_a_bert_generator_is_left_out_and_said(tmp_path):
    config = masked_lm("bert").config
    saved(perturbed(transformers.BertForPreTraining(config)), tmp_path / "bert")
    detector_folder(tmp_path / "detector")
    plan = plan_from_stock(tmp_path / "detector", generator=tmp_path / "bert")
    assert not plan.unmatched and not plan.missing
    assert str(plan).count("left out: the pooler or the next sentence head") == 4


def test_other_models_are_no_generators(tmp_path):
    detector_folder(tmp_path / "detector")
    saved(transformers.T5Model(transformers.T5Config(vocab_size=VOCAB_SIZE, d_model=32, d_kv=8, d_ff=32, num_layers=1,
                                                     num_heads=2)), tmp_path / "t5")  # fmt: skip
    saved(perturbed(make_model("ElectraPlusForReplacedTokenDetection", "classic")), tmp_path / "detects")
    for name, message in (("t5", "AutoModelForMaskedLM knows, got 't5'"), ("detects", "must be a masked LM")):
        with pytest.raises(ValueError, match=message) as caught:
            from_stock(tmp_path / "detector", tmp_path / "joint", generator=tmp_path / name)
        assert "\n" not in str(caught.value) and not (tmp_path / "joint").exists()
