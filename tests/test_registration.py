"""What every row of the table must do: Auto classes, pipelines, one folder for every head, honest loading."""

import logging

import pytest
import torch
import transformers
from model_helpers import joint_config, small_config, text_batch

import electra_plus
from electra_plus import ElectraPlusForPreTraining
from electra_plus.registration import HEADS, register

FLAVOURS = ["classic", "modern"]
WITH_AUTO_CLASS = [head for head in HEADS if head.auto_class]
# what an Auto class makes of a folder or a configuration that names none of the classes it serves
BY_DEFAULT = list({head.auto_class: head for head in reversed(WITH_AUTO_CLASS)}.values())
# Parameters of a task head: new by design when a pretraining checkpoint becomes a classifier.
TASK_HEADS = ("classifier.", "qa_outputs.", "sequence_summary.")


def head_id(head):
    return head.class_name


def config_for(head, flavour: str, **overrides):
    make = joint_config if head.class_name == "ElectraPlusForPreTraining" else small_config
    return make(flavour, is_decoder=head.class_name == "ElectraPlusForCausalLM", **overrides)


def batch_for(head) -> dict[str, torch.Tensor]:
    batch = text_batch()
    if head.class_name == "ElectraPlusForMultipleChoice":
        return {name: torch.stack([tensor, tensor.flip(0)], dim=1) for name, tensor in batch.items()}
    return batch


def assert_same(ours: torch.Tensor, expected: torch.Tensor) -> None:
    # weights mapped from a file lie at other addresses, and matrix products may then round differently
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)


@pytest.fixture
def load_messages(caplog):
    """What transformers logs, which it keeps from the root logger."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope="module", params=FLAVOURS)
def joint_folder(request, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    model = ElectraPlusForPreTraining(joint_config(request.param)).eval()
    model.save_pretrained(folder)
    return model, folder


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("head", WITH_AUTO_CLASS, ids=head_id)
def test_auto_class_opens_what_was_saved(head, flavour, tmp_path):
    model = head.model_class(config_for(head, flavour)).eval()
    model.save_pretrained(tmp_path)
    loaded = getattr(transformers, head.auto_class).from_pretrained(tmp_path).eval()
    assert type(loaded) is head.model_class
    assert_same(loaded(**batch_for(head))[0], model(**batch_for(head))[0])


@pytest.mark.parametrize("head", BY_DEFAULT, ids=head_id)
def test_auto_class_builds_from_a_config(head):
    model = getattr(transformers, head.auto_class).from_config(config_for(head, "classic"))
    assert type(model) is head.model_class


def test_registering_again_keeps_the_classes():
    register()
    assert transformers.AutoModel._model_mapping[electra_plus.ElectraPlusConfig] is electra_plus.ElectraPlusModel


@pytest.mark.parametrize("head", BY_DEFAULT, ids=head_id)
def test_joint_folder_serves_every_head(head, joint_folder, load_messages):
    joint, folder = joint_folder
    loaded, info = getattr(transformers, head.auto_class).from_pretrained(folder, output_loading_info=True)
    if head.class_name == "ElectraPlusForCausalLM":
        # a decoder is no part of a joint checkpoint: its head is new and said so
        assert all(name.startswith("generator_") for name in info["missing_keys"])
    else:
        assert all(name.startswith(TASK_HEADS) for name in info["missing_keys"])
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    for name in info["missing_keys"]:
        assert name in load_messages.text
    if not info["missing_keys"]:
        assert "LOAD REPORT" not in load_messages.text
    expected = (joint.generator if head.class_name == "ElectraPlusForMaskedLM" else joint).electra
    ours = loaded.base_model.state_dict()
    assert ours.keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, ours[name]), name


def test_detector_opens_a_joint_folder(joint_folder):
    joint, folder = joint_folder
    detector, info = electra_plus.ElectraPlusForReplacedTokenDetection.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    batch = text_batch()
    assert_same(detector.eval()(**batch).logits, joint(**batch).logits)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_folders_of_one_part_load_and_the_rest_is_named(part, joint_folder, tmp_path, load_messages):
    joint, _ = joint_folder
    getattr(joint, part).save_pretrained(tmp_path)
    whole = {"generator": "ElectraPlusForMaskedLM", "discriminator": "ElectraPlusForReplacedTokenDetection"}
    for own, class_name in whole.items():
        load_messages.clear()
        _, info = getattr(electra_plus, class_name).from_pretrained(tmp_path, output_loading_info=True)
        assert bool(info["missing_keys"]) == (own != part)
        for name in info["missing_keys"]:
            assert name in load_messages.text


def test_stock_folders_load_into_every_class_and_new_weights_are_named(tmp_path, load_messages):
    stock = transformers.ElectraModel(transformers.ElectraConfig(vocab_size=99, hidden_size=32, num_hidden_layers=1))
    stock.save_pretrained(tmp_path)
    for head in HEADS:
        if head.class_name == "ElectraPlusForPreTraining":
            with pytest.raises(ValueError, match="generator_config"):
                head.model_class.from_pretrained(tmp_path)
            continue
        load_messages.clear()
        model, info = head.model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert model.config.model_type == "electra_plus"
        for name in info["missing_keys"]:
            assert name in load_messages.text
        for name, tensor in model.base_model.state_dict().items():
            assert torch.equal(tensor, stock.state_dict()[name]), name


def test_missing_weight_file_is_a_clear_error(tmp_path):
    small_config().save_pretrained(tmp_path)
    with pytest.raises(OSError, match="model.safetensors"):
        electra_plus.ElectraPlusModel.from_pretrained(tmp_path)


def test_missing_folder_is_a_clear_error(tmp_path):
    with pytest.raises(OSError, match="nothing_here"):
        transformers.AutoModel.from_pretrained(str(tmp_path / "nothing_here"))


@pytest.mark.parametrize("kept_bytes", [0, 5, 4000])
def test_truncated_weight_file_is_a_clear_error(kept_bytes, tmp_path):
    electra_plus.ElectraPlusModel(small_config()).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept_bytes])
    with pytest.raises(OSError, match=r"model\.safetensors.*(incomplete|truncated)"):
        electra_plus.ElectraPlusModel.from_pretrained(tmp_path)


PIPELINES = [(head, task) for head in HEADS for task in head.pipelines]


@pytest.mark.parametrize(("head", "task"), PIPELINES, ids=[task for _, task in PIPELINES])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_stock_pipeline_runs(head, task, flavour, tmp_path, tokenizer, load_messages):
    overrides = {}
    if task == "zero-shot-classification":
        overrides = {
            "id2label": {0: "contradiction", 1: "entailment"},
            "label2id": {"contradiction": 0, "entailment": 1},
        }
    head.model_class(config_for(head, flavour, **overrides)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    run = transformers.pipeline(task, model=str(tmp_path))
    calls = {
        "feature-extraction": ["the cat"],
        "fill-mask": ["the [MASK] sat"],
        "text-generation": ["the cat"],
        "text-classification": ["I love this book"],
        "token-classification": ["the cat sat"],
        "zero-shot-classification": ["I love this book", ["good", "bad"]],
    }
    arguments = {"max_new_tokens": 3} if task == "text-generation" else {}
    result = run(*calls[task], **arguments)
    assert type(run.model) is head.model_class
    assert "not supported" not in load_messages.text
    if task == "zero-shot-classification":
        assert sorted(result["labels"]) == ["bad", "good"]
        assert sum(result["scores"]) == pytest.approx(1, abs=1e-5)
    elif task == "feature-extraction":
        assert len(result[0][0]) == 32
    elif task == "text-generation":
        assert result[0]["generated_text"].startswith("the cat")
    else:
        assert all(0 <= answer["score"] <= 1 for answer in result)
