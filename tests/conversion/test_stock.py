"""Conversion keeps every bit, transformers alone opens the result, and a failure leaves nothing behind."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import transformers
from conversion_helpers import assert_bit_equal, config_of, perturbed, saved, weights
from head_helpers import batch_for, make_model, scores_of
from model_helpers import VOCAB_SIZE, joint_config, text_batch
from safetensors.torch import load_file, save_file

import electra_plus
from electra_plus.cli.main import main
from electra_plus.conversion import from_stock, plan_to_stock, to_stock
from electra_plus.conversion.families import FIELDS_WITHOUT_EFFECT, STOCK_CLASSES, STOCK_VALUES

OUR_CLASSES = {stock: ours for ours, stock in STOCK_CLASSES.items()}
SHAPES = {"equal": {"embedding_size": 32}, "projected": {"embedding_size": 16}}
# None of them a default, so that a field that is forgotten shows.
FIELDS = {
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "classifier_dropout": 0.4,
    "initializer_range": 0.03,
    "layer_norm_eps": 1e-6,
    "max_position_embeddings": 40,
    "type_vocab_size": 3,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "summary_type": "mean",
    "summary_activation": "tanh",
    "summary_last_dropout": 0.25,
    "id2label": {0: "no", 1: "maybe"},
    "label2id": {"no": 0, "maybe": 1},
    "problem_type": "multi_label_classification",
    "house_rule": "a field nobody knows",
}
CASES = {
    **{f"{ours}-{shape}": (ours, SHAPES[shape]) for ours in STOCK_CLASSES for shape in SHAPES},
    "ElectraPlusForMaskedLM-untied": ("ElectraPlusForMaskedLM", {"tie_word_embeddings": False}),
    "ElectraPlusForCausalLM-untied": ("ElectraPlusForCausalLM", {"tie_word_embeddings": False}),
    "ElectraPlusForCausalLM-cross": ("ElectraPlusForCausalLM", {"add_cross_attention": True}),
    "ElectraPlusForMultipleChoice-bare": (
        "ElectraPlusForMultipleChoice",
        {"summary_use_proj": False, "summary_activation": None, "summary_type": "last"},
    ),
}
# name: (discriminator's fields, generator's fields)
JOINT_CASES = {
    "joint-all": ({}, {}),
    "joint-word": ({"embedding_sharing": "word"}, {}),
    "joint-none": ({"embedding_sharing": "none"}, {"embedding_size": 16, "tie_word_embeddings": False}),
    "joint-bert": ({}, None),
}

# What a user without this package does with a folder.
OPEN_WITH_TRANSFORMERS = """
import json, sys
import torch, transformers
from safetensors.torch import load_file

torch.set_num_threads(1)
report = {}
for folder, tensors in json.load(open(sys.argv[1])):
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    expected = load_file(tensors)
    batch = {name[3:]: expected.pop(name) for name in list(expected) if name.startswith("in.")}
    outputs = model.eval()(**batch)
    report[folder] = {
        "class": model_class.__name__,
        "problems": {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys},
        "difference": {name: (outputs[name] - score).abs().max().item() for name, score in expected.items()},
    }
assert "electra_plus" not in sys.modules
json.dump(report, open(sys.argv[1] + ".report", "w"))
"""


def our_model(name: str, **overrides):
    return perturbed(make_model(name, "classic", local_attention=128, **{**FIELDS, **overrides}))


def stock_model(name: str, **overrides):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    fields = {"vocab_size": VOCAB_SIZE, "embedding_size": 32, "is_decoder": name == "ElectraForCausalLM"}
    if overrides.get("summary_activation", "") is None:
        overrides["summary_activation"] = ""
    config = transformers.ElectraConfig(**{**sizes, **fields, **FIELDS, **overrides})
    return perturbed(getattr(transformers, name)(config))


def bert_model(name: str = "BertForMaskedLM", **overrides):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    return perturbed(
        getattr(transformers, name)(transformers.BertConfig(vocab_size=VOCAB_SIZE, **{**sizes, **overrides}))
    )


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """For each case the folders ours -> stock -> ours and stock -> ours -> stock, and those for transformers to open."""
    root = tmp_path_factory.mktemp("chains")
    chains, to_open = {}, []

    def expect(stock_folder: Path, our_folder: Path, our_class: str) -> None:
        model = getattr(electra_plus, our_class).from_pretrained(our_folder).eval()
        batch = batch_for(our_class)
        tensors = root / f"{len(to_open)}.safetensors"
        inputs = {f"in.{name}": tensor.contiguous() for name, tensor in batch.items()}
        with torch.no_grad():
            outputs = model(**batch)
        names = scores_of(outputs, batch).keys()
        save_file({**inputs, **{name: outputs[name].contiguous() for name in names}}, tensors)
        to_open.append((str(stock_folder), str(tensors)))

    for case, (our_class, overrides) in CASES.items():
        folder = root / case
        saved(our_model(our_class, **overrides), folder / "ours")
        assert to_stock(folder / "ours", folder / "stock") == {folder / "stock": STOCK_CLASSES[our_class]}
        assert from_stock(folder / "stock", folder / "again") == {folder / "again": our_class}
        expect(folder / "stock", folder / "ours", our_class)
        chains[case, "ours"] = [folder / "ours", folder / "stock", folder / "again"]

        folder = root / f"{case}-from-stock"
        saved(stock_model(STOCK_CLASSES[our_class], **overrides), folder / "stock")
        from_stock(folder / "stock", folder / "ours")
        to_stock(folder / "ours", folder / "again")
        expect(folder / "again", folder / "ours", our_class)
        chains[case, "stock"] = [folder / "stock", folder / "ours", folder / "again"]

    for case, (detector_fields, generator_fields) in JOINT_CASES.items():
        folder = root / case
        if generator_fields is None:
            detector = our_model("ElectraPlusForReplacedTokenDetection")
            model = electra_plus.ElectraPlusForPreTraining.from_generator_discriminator(bert_model(), detector)
        else:
            config = joint_config("classic", generator={**FIELDS, **generator_fields}, **{**FIELDS, **detector_fields})
            model = perturbed(electra_plus.ElectraPlusForPreTraining(config))
        saved(model, folder / "joint")
        parts = to_stock(folder / "joint", folder / "parts")
        discriminator, generator = folder / "parts" / "discriminator", folder / "parts" / "generator"
        generator_class = "BertForMaskedLM" if case == "joint-bert" else "ElectraForMaskedLM"
        assert parts == {discriminator: "ElectraForPreTraining", generator: generator_class}
        from_stock(discriminator, folder / "again", generator=generator)
        to_stock(folder / "again", folder / "parts-again")
        expect(discriminator, folder / "joint", "ElectraPlusForReplacedTokenDetection")
        expect(generator, folder / "joint", "ElectraPlusForMaskedLM")

    manifest = root / "manifest.json"
    manifest.write_text(json.dumps(to_open))
    run = subprocess.run(
        [sys.executable, "-c", OPEN_WITH_TRANSFORMERS, str(manifest)], capture_output=True, text=True, cwd=root
    )
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(Path(f"{manifest}.report").read_text())
    assert len(report) == len(to_open) == 2 * len(CASES) + 2 * len(JOINT_CASES)
    return root, chains, report


@pytest.mark.parametrize("start", ["ours", "stock"])
@pytest.mark.parametrize("case", CASES)
def test_tensors_and_fields_are_equal_there_and_back(case, start, chains):
    first, middle, last = chains[1][case, start]
    assert_bit_equal(weights(middle), weights(first))
    assert_bit_equal(weights(last), weights(first))
    before, after = config_of(first), config_of(last)
    if before.get("summary_activation", "") is None:
        before["summary_activation"] = ""  # the way stock spells it
    assert after == before
    for field, value in {**FIELDS, **CASES[case][1]}.items():
        expected = {str(key): label for key, label in value.items()} if field == "id2label" else value
        # transformers leaves a map of two labels out of config.json only if the labels are unnamed
        assert config_of(middle)[field] == (expected or ("" if expected is None else expected)), field


@pytest.mark.parametrize("start", ["ours", "stock"])
@pytest.mark.parametrize("case", CASES)
def test_transformers_alone_opens_it_and_scores_the_same(case, start, chains):
    _, folders, report = chains
    stock_folder = folders[case, start][1 if start == "ours" else 2]
    found = report[str(stock_folder)]
    assert found["class"] == STOCK_CLASSES[CASES[case][0]]
    assert not found["problems"]
    assert found["difference"]
    assert max(found["difference"].values()) <= 1e-6  # same operations in the same order, other addresses
    stock_config = config_of(stock_folder)
    assert stock_config["model_type"] == "electra"
    assert not {"flavour", "layer_types", "generator_config", "embedding_sharing"} & stock_config.keys()


@pytest.mark.parametrize("case", JOINT_CASES)
def test_joint_checkpoint_becomes_two_stock_folders_and_one_again(case, chains):
    root, _, report = chains
    folder = root / case
    for part in ("discriminator", "generator"):
        found = report[str(folder / "parts" / part)]
        assert not found["problems"]
        assert max(found["difference"].values()) <= 1e-6
        assert_bit_equal(weights(folder / "parts-again" / part), weights(folder / "parts" / part))
        assert config_of(folder / "parts-again" / part) == config_of(folder / "parts" / part)
    # the joint file, too: what was shared is found to be equal and shared again
    assert_bit_equal(weights(folder / "again"), weights(folder / "joint"))
    again, before = config_of(folder / "again"), config_of(folder / "joint")
    assert again["embedding_sharing"] == before["embedding_sharing"]
    assert str(root) not in (folder / "again" / "config.json").read_text()


def test_generator_of_stock_electra_becomes_ours_and_bert_stays_bert(chains):
    root = chains[0]
    types = {case: config_of(root / case / "again")["generator_config"]["model_type"] for case in JOINT_CASES}
    assert types == {
        "joint-all": "electra_plus",
        "joint-word": "electra_plus",
        "joint-none": "electra_plus",
        "joint-bert": "bert",
    }


def test_separate_tables_of_an_untied_discriminator_stay_separate(tmp_path):
    detector = stock_model("ElectraForPreTraining", tie_word_embeddings=False)
    generator = stock_model("ElectraForMaskedLM")
    generator.electra.embeddings.load_state_dict(detector.electra.embeddings.state_dict())
    saved(detector, tmp_path / "detector"), saved(generator, tmp_path / "generator")
    from_stock(tmp_path / "detector", tmp_path / "joint", generator=tmp_path / "generator")
    assert config_of(tmp_path / "joint")["embedding_sharing"] == "none"


def test_every_field_of_ours_is_known_to_matter_or_not():
    """A new field fails here until somebody says what its conversion is."""
    own, stock = (
        {field.name for field in fields(config)}
        for config in (electra_plus.ElectraPlusConfig, transformers.ElectraConfig)
    )
    only_for_training = {
        "depth_scaled_init",
        "sparse_prediction",
        "embedding_sharing",
        "generator_config",
        "generator_loss_weight",
        "discriminator_loss_weight",
        "generator_temperature",
        "disallow_correct",
    }
    of_classification = {"classifier_pooling", "classifier_activation"}
    assert own - stock == {*STOCK_VALUES, *FIELDS_WITHOUT_EFFECT, *of_classification, *only_for_training}


def test_fields_of_pretraining_are_left_out_with_a_warning(tmp_path, caplog):
    saved(our_model("ElectraPlusForMaskedLM", sparse_prediction=True), tmp_path / "ours")
    to_stock(tmp_path / "ours", tmp_path / "stock")
    assert "sparse_prediction=True" in caplog.text
    assert "sparse_prediction" not in config_of(tmp_path / "stock")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtype_is_kept(dtype, tmp_path):
    first = saved(our_model("ElectraPlusForMaskedLM").to(dtype), tmp_path / "ours")
    to_stock(first, tmp_path / "stock")
    from_stock(tmp_path / "stock", tmp_path / "again")
    for folder in (tmp_path / "stock", tmp_path / "again"):
        assert_bit_equal(weights(folder), weights(first))
        assert config_of(folder)["dtype"] == str(dtype).removeprefix("torch.")


def test_dtype_is_that_of_the_weights_whatever_the_config_says(tmp_path):
    first = saved(our_model("ElectraPlusForMaskedLM"), tmp_path / "ours")
    (first / "config.json").write_text(json.dumps({**config_of(first), "dtype": "bfloat16"}))
    to_stock(first, tmp_path / "stock")
    assert_bit_equal(weights(tmp_path / "stock"), weights(first))
    assert config_of(tmp_path / "stock")["dtype"] == "float32"


def test_joint_takes_the_wider_dtype_of_its_parts(tmp_path):
    detector = saved(stock_model("ElectraForPreTraining").bfloat16(), tmp_path / "detector")
    for dtype in (torch.bfloat16, torch.float32):
        generator = saved(bert_model().to(dtype), tmp_path / f"generator-{dtype}")
        from_stock(detector, tmp_path / str(dtype), generator=generator)
        to_stock(tmp_path / str(dtype), tmp_path / f"parts-{dtype}")
        for part, before in {"discriminator": detector, "generator": generator}.items():
            expected = {name: tensor.to(dtype) for name, tensor in weights(before).items()}
            assert_bit_equal(weights(tmp_path / f"parts-{dtype}" / part), expected)
    assert torch.get_default_dtype() == torch.float32


def test_sharded_weights_convert(tmp_path):
    model = our_model("ElectraPlusForReplacedTokenDetection")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    to_stock(tmp_path / "sharded", tmp_path / "stock")
    assert_bit_equal(weights(tmp_path / "stock"), model.state_dict())


def test_tokenizer_and_generation_settings_come_along(tmp_path, tokenizer):
    model = our_model("ElectraPlusForCausalLM")
    model.generation_config.max_new_tokens = 7
    saved(model, tmp_path / "ours")
    tokenizer_files = [Path(file).name for file in tokenizer.save_pretrained(tmp_path / "ours")]
    tokenizer_files = [file for file in tokenizer_files if (tmp_path / "ours" / file).is_file()]
    assert len(tokenizer_files) > 1
    to_stock(tmp_path / "ours", tmp_path / "stock")
    from_stock(tmp_path / "stock", tmp_path / "again")
    for folder in (tmp_path / "stock", tmp_path / "again"):
        loaded = transformers.AutoTokenizer.from_pretrained(folder)
        assert loaded("I love this book")["input_ids"] == tokenizer("I love this book")["input_ids"]
        for file in tokenizer_files:
            assert (folder / file).read_bytes() == (tmp_path / "ours" / file).read_bytes()
        assert transformers.GenerationConfig.from_pretrained(folder).max_new_tokens == 7


def test_remote_code_settings_are_left_out(tmp_path):
    model = our_model("ElectraPlusForSequenceClassification")
    model.config.auto_map = {"AutoModel": "modeling_electra_plus.ElectraPlusModel"}
    saved(model, tmp_path / "ours")
    assert "auto_map" in config_of(tmp_path / "ours")
    to_stock(tmp_path / "ours", tmp_path / "stock")
    assert "auto_map" not in config_of(tmp_path / "stock")


@pytest.mark.parametrize(
    ("bert_class", "our_class", "left_out"),
    [
        ("BertModel", "ElectraPlusModel", "pooler"),
        ("BertForPreTraining", "ElectraPlusForMaskedLM", "next sentence"),
        ("BertForMaskedLM", "ElectraPlusForMaskedLM", None),
        ("BertLMHeadModel", "ElectraPlusForCausalLM", None),
        ("BertForTokenClassification", "ElectraPlusForTokenClassification", None),
        ("BertForQuestionAnswering", "ElectraPlusForQuestionAnswering", None),
    ],
)
def test_bert_becomes_ours_with_berts_scores(bert_class, our_class, left_out, tmp_path, caplog):
    bert = bert_model(bert_class, is_decoder=bert_class == "BertLMHeadModel")
    saved(bert, tmp_path / "bert")
    assert from_stock(tmp_path / "bert", tmp_path / "ours") == {tmp_path / "ours": our_class}
    assert (left_out or "left out") in caplog.text if left_out else "left out" not in caplog.text
    ours, info = getattr(electra_plus, our_class).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values())
    batch = batch_for(our_class)
    outputs, expected = ours.eval()(**batch), bert(**batch)
    for name, score in scores_of(outputs, batch).items():
        theirs = expected["prediction_logits"] if bert_class == "BertForPreTraining" else expected[name]
        theirs = scores_of({name: theirs}, batch)[name]
        torch.testing.assert_close(score, theirs, rtol=1e-5, atol=1e-5)  # other attention code, other rounding


def test_differences_of_the_tables_are_folded_and_further_heads_are_left_out(tmp_path):
    config = joint_config(embedding_sharing="gdes", objective_weights={"sequence_contrast": 1.0})
    joint = perturbed(electra_plus.ElectraPlusForPreTraining(config))
    joint.fold_embeddings()
    saved(joint, tmp_path / "joint")
    before = weights(tmp_path / "joint")
    plan = plan_to_stock(tmp_path / "joint")
    assert not plan.unmatched and not plan.missing
    assert "folded into the discriminator's tables" in str(plan) and any(n.startswith("embedding_diff") for n in before)
    to_stock(tmp_path / "joint", tmp_path / "both")
    to_stock(tmp_path / "joint", tmp_path / "detector", part="discriminator")
    for folder in (tmp_path / "both" / "discriminator", tmp_path / "detector"):
        found = weights(folder)
        assert_bit_equal(found, {name: before[name] for name in found})
        stock = transformers.ElectraForPreTraining.from_pretrained(folder).eval()
        batch = text_batch()
        torch.testing.assert_close(stock(**batch).logits, joint(**batch).logits, rtol=1e-5, atol=1e-5)


# ---- refusals ----


def refusal(error, convert, *arguments, **options) -> str:
    """Return the message, which is one line, and check that nothing was written."""
    output = arguments[1]
    before = sorted(output.parent.iterdir())
    with pytest.raises(error) as caught:
        convert(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert sorted(output.parent.iterdir()) == before
    return message


def test_modern_model_is_refused_with_the_fields_named(tmp_path):
    saved(make_model("ElectraPlusModel", "modern"), tmp_path / "modern")
    message = refusal(ValueError, to_stock, tmp_path / "modern", tmp_path / "stock")
    for field in (
        "norm_position='pre'",
        "position_embedding='rotary'",
        "mlp_type='gated'",
        "use_bias=False",
        "layer_types",
    ):
        assert field in message


@pytest.mark.parametrize(
    ("field", "value"), [("norm_position", "pre"), ("norm_type", "rmsnorm"), ("global_attn_every_n_layers", 2)]
)
def test_one_field_without_equal_is_enough(field, value, tmp_path):
    saved(make_model("ElectraPlusModel", "classic", **{field: value}), tmp_path / "ours")
    message = refusal(ValueError, to_stock, tmp_path / "ours", tmp_path / "stock")
    assert ("layer_types" if field == "global_attn_every_n_layers" else field) in message


def test_generator_without_equal_is_refused(tmp_path):
    config = joint_config("classic", generator={"norm_position": "pre"})
    saved(electra_plus.ElectraPlusForPreTraining(config), tmp_path / "joint")
    message = refusal(ValueError, to_stock, tmp_path / "joint", tmp_path / "stock")
    assert "`generator_config.norm_position='pre'`" in message


def test_mean_pooling_is_refused_where_it_scores(tmp_path):
    saved(our_model("ElectraPlusForSequenceClassification", classifier_pooling="mean"), tmp_path / "sequence")
    saved(our_model("ElectraPlusForTokenClassification", classifier_pooling="mean"), tmp_path / "token")
    assert "classifier_pooling='mean'" in refusal(ValueError, to_stock, tmp_path / "sequence", tmp_path / "stock")
    to_stock(tmp_path / "token", tmp_path / "stock")


def test_wrong_direction_is_told(tmp_path):
    ours = saved(our_model("ElectraPlusModel"), tmp_path / "ours")
    stock = saved(stock_model("ElectraModel"), tmp_path / "stock")
    assert "from_stock" in refusal(ValueError, to_stock, stock, tmp_path / "out")
    assert "to_stock" in refusal(ValueError, from_stock, ours, tmp_path / "out")


@pytest.mark.parametrize("convert", [to_stock, from_stock])
def test_missing_folder_and_missing_config_are_told(convert, tmp_path):
    assert "nothing_here" in refusal(FileNotFoundError, convert, tmp_path / "nothing_here", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refusal(FileNotFoundError, convert, tmp_path / "empty", tmp_path / "out")
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "JSON" in refusal(ValueError, convert, tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize("convert", [to_stock, from_stock])
def test_unusable_weights_are_told(convert, tmp_path):
    folder = saved(
        our_model("ElectraPlusModel") if convert is to_stock else stock_model("ElectraModel"), tmp_path / "in"
    )
    file = folder / "model.safetensors"
    tensors = load_file(file)

    save_file({name: tensor for name, tensor in tensors.items() if "layer.1." not in name}, file, {"format": "pt"})
    message = refusal(ValueError, convert, folder, tmp_path / "out")
    assert "encoder.layer.1." in message and "more" in message

    tensors["embeddings.LayerNorm.weight"] = torch.ones(5)
    save_file(tensors, file, {"format": "pt"})
    assert "embeddings.LayerNorm.weight" in refusal(ValueError, convert, folder, tmp_path / "out")

    file.write_bytes(file.read_bytes()[:1000])
    assert "cannot be read" in refusal(ValueError, convert, folder, tmp_path / "out")

    file.rename(folder / "pytorch_model.bin")
    assert "damaged: refused" in refusal(ValueError, convert, folder, tmp_path / "out")

    (folder / "pytorch_model.bin").unlink()
    assert "model.safetensors" in refusal(FileNotFoundError, convert, folder, tmp_path / "out")


def test_heads_without_equal_are_refused(tmp_path):
    saved(bert_model("BertForNextSentencePrediction"), tmp_path / "pooled")
    assert "BertForNextSentencePrediction" in refusal(ValueError, from_stock, tmp_path / "pooled", tmp_path / "out")
    saved(bert_model("BertForMaskedLM", hidden_act="relu"), tmp_path / "relu")
    assert "hidden_act='relu'" in refusal(ValueError, from_stock, tmp_path / "relu", tmp_path / "out")
    saved(stock_model("ElectraForMultipleChoice", summary_first_dropout=0.1), tmp_path / "choice")
    assert "summary_first_dropout=0.1" in refusal(ValueError, from_stock, tmp_path / "choice", tmp_path / "out")
    folder = saved(our_model("ElectraPlusModel"), tmp_path / "headless")
    (folder / "config.json").write_text(json.dumps({**config_of(folder), "architectures": None}))
    assert "architectures" in refusal(ValueError, to_stock, folder, tmp_path / "out")


def test_parts_that_do_not_fit_are_refused(tmp_path):
    detector = saved(stock_model("ElectraForPreTraining"), tmp_path / "detector")
    encoder = saved(stock_model("ElectraModel"), tmp_path / "encoder")
    masked_lm = saved(stock_model("ElectraForMaskedLM"), tmp_path / "masked_lm")
    other = saved(stock_model("ElectraForMaskedLM", vocab_size=50), tmp_path / "other")
    out = tmp_path / "out"
    assert "`generator`" in refusal(ValueError, from_stock, detector, out, generator=encoder)
    assert "`generator`" in refusal(FileNotFoundError, from_stock, detector, out, generator=tmp_path / "nothing_here")
    assert "ElectraForPreTraining" in refusal(ValueError, from_stock, encoder, out, generator=masked_lm)
    message = refusal(ValueError, from_stock, detector, out, generator=other)
    assert "vocab_size" in message and "99" in message and "50" in message


# ---- the output folder ----


def test_folder_in_use_is_replaced_only_when_asked(tmp_path):
    ours = saved(our_model("ElectraPlusModel"), tmp_path / "ours")
    output = tmp_path / "out"
    output.mkdir()
    to_stock(ours, output)  # empty: free to use
    (output / "note.txt").write_text("mine")
    assert "--overwrite" in refusal(ValueError, to_stock, ours, output)
    assert (output / "note.txt").exists()
    to_stock(ours, output, overwrite=True)
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "out"]
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal(ValueError, to_stock, ours, tmp_path / "file", overwrite=True)


def test_missing_parents_are_made_and_paths_stay_as_given(tmp_path, monkeypatch):
    saved(our_model("ElectraPlusModel"), tmp_path / "ours")
    monkeypatch.chdir(tmp_path)
    assert to_stock("ours", "a/b") == {Path("a/b"): "ElectraModel"}
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", "config.json", "model.safetensors"]


def test_source_is_never_replaced(tmp_path, monkeypatch):
    ours = saved(our_model("ElectraPlusModel"), tmp_path / "models" / "ours")
    for output in (ours, tmp_path / "models"):
        assert "must stay" in refusal(ValueError, to_stock, ours, output, overwrite=True)
    (tmp_path / "work" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deeper")
    assert "must stay" in refusal(ValueError, to_stock, ours, tmp_path / "work", overwrite=True)
    assert (ours / "model.safetensors").is_file()


@pytest.fixture
def joint_folder(tmp_path):
    return saved(electra_plus.ElectraPlusForPreTraining(joint_config()), tmp_path / "joint")


def test_failure_in_the_middle_leaves_nothing(joint_folder, tmp_path, monkeypatch):
    save = transformers.PreTrainedModel.save_pretrained

    def save_discriminator_only(model, folder, *args, **kwargs):
        save(model, folder, *args, **kwargs)
        if Path(folder).name == "generator":
            raise OSError("disk full")

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", save_discriminator_only)
    assert "disk full" in refusal(OSError, to_stock, joint_folder, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine")
    assert "disk full" in refusal(OSError, to_stock, joint_folder, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "note.txt").read_text() == "mine"


def test_failure_of_the_last_move_restores_what_was_there(joint_folder, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine")
    rename = Path.rename

    def refuse_new(path, target):
        if ".new-" in path.name:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    refusal(OSError, to_stock, joint_folder, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "note.txt").read_text() == "mine"


# ---- the command ----


def test_command_converts_both_ways_and_says_what_opens_it(joint_folder, tmp_path, capsys):
    stock, again = tmp_path / "stock", tmp_path / "again"
    assert main(["convert", "--model", str(joint_folder), "--to", "stock", "--output", str(stock)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{stock / 'discriminator'}: opens with transformers.ElectraForPreTraining.from_pretrained",
        f"{stock / 'generator'}: opens with transformers.ElectraForMaskedLM.from_pretrained",
    ]
    back = ["convert", "--model", str(stock / "discriminator"), "--generator", str(stock / "generator")]
    assert main([*back, "--to", "electra-plus", "--output", str(again)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{again}: opens with electra_plus.ElectraPlusForPreTraining.from_pretrained"
    ]
    assert_bit_equal(weights(again), weights(joint_folder))

    assert main([*back, "--to", "electra-plus", "--output", str(again)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*back, "--to", "electra-plus", "--output", str(again), "--overwrite"]) == 0
    assert main([*back, "--to", "stock", "--output", str(tmp_path / "x")]) == 2
    assert "--generator" in capsys.readouterr().err


def test_fine_tuned_joint_checkpoint_keeps_no_trace_of_the_generator(joint_folder, tmp_path):
    classifier = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(joint_folder, num_labels=3)
    saved(classifier, tmp_path / "classifier")
    to_stock(tmp_path / "classifier", tmp_path / "stock")
    assert_bit_equal(weights(tmp_path / "stock"), weights(tmp_path / "classifier"))
    assert "generator_config" not in config_of(tmp_path / "stock")
    loaded = transformers.ElectraForSequenceClassification.from_pretrained(tmp_path / "stock")
    assert loaded.config.num_labels == 3
