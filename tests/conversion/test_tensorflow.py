"""Checkpoints of ELECTRA's and BERT's authors become ours, and give the scores of the formulas that wrote them."""

import json
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import electra_plus
from electra_plus.cli.main import main
from electra_plus.conversion import from_stock, plan_from_stock, to_stock

FOLDER = Path(__file__).parent / "tensorflow_checkpoints"
INPUT_IDS = torch.tensor([[2, 7, 9, 11, 4, 3], [2, 20, 21, 3, 0, 0]])
TOKEN_TYPE_IDS = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
BATCH = {
    "input_ids": INPUT_IDS,
    "token_type_ids": TOKEN_TYPE_IDS,
    "attention_mask": (INPUT_IDS != 0).long(),
}


class PlainElectra:
    """The formulas of model/modeling.py in numpy on TensorFlow's own variables: `x @ kernel + bias`, one head."""

    def __init__(self, folder: Path):
        self.variables = {
            name: tensor.double().numpy()
            for name, tensor in load_file(folder / "as_tensorflow_reads_it.safetensors").items()
        }

    def dense(self, x, name):
        return x @ self.variables[f"{name}/kernel"] + self.variables[f"{name}/bias"]

    def norm(self, x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * self.variables[f"{name}/gamma"] + self.variables[f"{name}/beta"]

    def gelu(self, x):
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def states(self, scope, table_scope, num_layers):
        tables = f"{table_scope}/embeddings"
        x = self.variables[f"{tables}/word_embeddings"][INPUT_IDS.numpy()]
        x = x + self.variables[f"{tables}/token_type_embeddings"][TOKEN_TYPE_IDS.numpy()]
        x = x + self.variables[f"{tables}/position_embeddings"][: x.shape[1]]
        x = self.norm(x, f"{tables}/LayerNorm")
        if f"{scope}/embeddings_project/kernel" in self.variables:
            x = self.dense(x, f"{scope}/embeddings_project")
        hidden = np.where(BATCH["attention_mask"].numpy()[:, None] == 1, 0.0, -1e9)
        for layer_idx in range(num_layers):
            layer = f"{scope}/encoder/layer_{layer_idx}"
            query, key, value = (self.dense(x, f"{layer}/attention/self/{name}") for name in ("query", "key", "value"))
            scores = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1]) + hidden
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            attended = self.dense(weights / weights.sum(-1, keepdims=True) @ value, f"{layer}/attention/output/dense")
            x = self.norm(x + attended, f"{layer}/attention/output/LayerNorm")
            inner = self.gelu(self.dense(x, f"{layer}/intermediate/dense"))
            x = self.norm(x + self.dense(inner, f"{layer}/output/dense"), f"{layer}/output/LayerNorm")
        return x

    def detector_logits(self):
        x = self.gelu(self.dense(self.states("electra", "electra", 2), "discriminator_predictions/dense"))
        return self.dense(x, "discriminator_predictions/dense_1")[..., 0]

    def generator_logits(self, scope="generator"):
        x = self.gelu(self.dense(self.states(scope, "electra", 2), "generator_predictions/dense"))
        x = self.norm(x, "generator_predictions/LayerNorm")
        table = self.variables["electra/embeddings/word_embeddings"]
        return x @ table.T + self.variables["generator_predictions/output_bias"]

    def bert_logits(self):
        x = self.gelu(self.dense(self.states("bert", "bert", 1), "cls/predictions/transform/dense"))
        x = self.norm(x, "cls/predictions/transform/LayerNorm")
        return x @ self.variables["bert/embeddings/word_embeddings"].T + self.variables["cls/predictions/output_bias"]


def assert_scores(model, expected: np.ndarray) -> None:
    with torch.no_grad():
        logits = model.eval()(**BATCH).logits.double().numpy()
    kept = BATCH["attention_mask"].numpy() == 1
    np.testing.assert_allclose(logits[kept], expected[kept], rtol=1e-5, atol=1e-5)  # float32 against float64


@pytest.fixture(scope="module")
def joint_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow") / "joint"
    assert from_stock(FOLDER / "electra", folder) == {folder: "ElectraPlusForPreTraining"}
    return folder


def test_joint_checkpoint_gives_the_scores_of_both_networks(joint_folder):
    joint = electra_plus.ElectraPlusForPreTraining.from_pretrained(joint_folder)
    plain = PlainElectra(FOLDER / "electra")
    assert joint.config.embedding_sharing == "all" and joint.config.flavour == "classic"
    assert joint.config.generator_config.hidden_size == 4 and joint.config.embedding_size == 6
    assert_scores(joint, plain.detector_logits())
    assert_scores(joint.generator, plain.generator_logits())


def test_stock_electra_gives_the_same_after_going_on(joint_folder, tmp_path):
    to_stock(joint_folder, tmp_path / "stock")
    plain = PlainElectra(FOLDER / "electra")
    detector = transformers.ElectraForPreTraining.from_pretrained(tmp_path / "stock" / "discriminator")
    generator = transformers.ElectraForMaskedLM.from_pretrained(tmp_path / "stock" / "generator")
    assert_scores(detector, plain.detector_logits())
    assert_scores(generator, plain.generator_logits())


def test_tokenizer_is_made_of_the_vocabulary(joint_folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(joint_folder)
    assert tokenizer("A b C")["input_ids"] == [2, 5, 6, 7, 3]  # lower-cased: no capitals in the vocabulary
    assert tokenizer.mask_token_id == 4


def test_cased_vocabulary_keeps_capitals(tmp_path):
    shutil.copytree(FOLDER / "electra", tmp_path / "cased")
    lines = (tmp_path / "cased" / "vocab.txt").read_text().splitlines()
    (tmp_path / "cased" / "vocab.txt").write_text("\n".join([*lines[:-1], "A"]))
    from_stock(tmp_path / "cased", tmp_path / "ours")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert tokenizer("A a")["input_ids"] == [2, 29, 5, 3]


@pytest.mark.parametrize("part", ["discriminator", "generator"])
def test_one_network_alone(part, tmp_path):
    classes = {"discriminator": "ElectraPlusForReplacedTokenDetection", "generator": "ElectraPlusForMaskedLM"}
    assert from_stock(FOLDER / "electra", tmp_path / part, part=part) == {tmp_path / part: classes[part]}
    plain = PlainElectra(FOLDER / "electra")
    expected = plain.detector_logits() if part == "discriminator" else plain.generator_logits()
    model, info = getattr(electra_plus, classes[part]).from_pretrained(tmp_path / part, output_loading_info=True)
    assert not any(info.values())
    assert_scores(model, expected)
    plan = plan_from_stock(FOLDER / "electra", part=part)
    assert not plan.unmatched and not plan.missing and "left out: of the other network" in str(plan)


def test_bert_of_its_authors_gives_their_formulas_scores(tmp_path, caplog):
    assert from_stock(FOLDER / "bert", tmp_path / "ours") == {tmp_path / "ours": "ElectraPlusForMaskedLM"}
    assert "the pooler" in caplog.text and "next sentence" in caplog.text
    plain = PlainElectra(FOLDER / "bert")
    assert_scores(electra_plus.ElectraPlusForMaskedLM.from_pretrained(tmp_path / "ours"), plain.bert_logits())
    to_stock(tmp_path / "ours", tmp_path / "bert", model_type="bert")
    bert = transformers.BertForPreTraining.from_pretrained(tmp_path / "bert")
    pooled = np.tanh(plain.dense(plain.states("bert", "bert", 1)[:, 0], "bert/pooler/dense"))
    expected = pooled @ plain.variables["cls/seq_relationship/output_weights"].T
    expected = expected + plain.variables["cls/seq_relationship/output_bias"]
    with torch.no_grad():
        logits = bert.eval()(**BATCH).seq_relationship_logits.double().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


# ---- how it may be named ----


def test_archive_file_and_prefix_give_the_same(joint_folder, tmp_path):
    archive = tmp_path / "electra_small.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in sorted((FOLDER / "electra").iterdir()):
            opened.write(file, f"electra_small/{file.name}")
    expected = load_file(joint_folder / "model.safetensors")
    named = {
        "zip": archive,
        "index": FOLDER / "electra" / "model.ckpt-1000.index",
        "prefix": FOLDER / "electra" / "model.ckpt-1000",
    }
    for kind, name in named.items():
        from_stock(name, tmp_path / kind)
        found = load_file(tmp_path / kind / "model.safetensors")
        assert found.keys() == expected.keys() and all(torch.equal(found[n], expected[n]) for n in found)
        assert (tmp_path / kind / "tokenizer.json").read_bytes() == (joint_folder / "tokenizer.json").read_bytes()


def test_of_several_checkpoints_the_named_one_is_taken(tmp_path):
    folder = tmp_path / "training"
    shutil.copytree(FOLDER / "electra", folder)
    for file in list(folder.glob("model.ckpt-1000.*")):
        shutil.copy(file, folder / file.name.replace("1000", "900"))
    assert plan_from_stock(folder).unmatched == []
    (folder / "checkpoint").write_text('model_checkpoint_path: "/on/another/machine/model.ckpt-900"\n')
    (folder / "model.ckpt-1000.index").write_bytes(b"")
    assert plan_from_stock(folder).unmatched == []
    (folder / "checkpoint").write_text('model_checkpoint_path: "../model.ckpt-7"\n')
    with pytest.raises(ValueError, match="holds 2 checkpoints"):
        plan_from_stock(folder)


def test_source_is_never_replaced_whatever_it_is_named_by(tmp_path):
    shutil.copytree(FOLDER / "electra", tmp_path / "electra")
    for name in (".", "model.ckpt-1000", "model.ckpt-1000.index"):
        with pytest.raises(ValueError, match="must stay"):
            from_stock(tmp_path / "electra" / name, tmp_path / "electra", overwrite=True)
    assert len(list((tmp_path / "electra").iterdir())) == 5


# ---- what the shapes do not say ----


def test_fields_of_a_file_win_and_heads_are_assumed_aloud(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"num_attention_heads": 2, "generator_config": {"num_attention_heads": 4}}))
    from_stock(FOLDER / "electra", tmp_path / "ours", config=config)
    made = electra_plus.ElectraPlusConfig.from_pretrained(tmp_path / "ours")
    assert made.num_attention_heads == 2 and made.generator_config.num_attention_heads == 4
    assumed = plan_from_stock(FOLDER / "electra").assumptions
    assert any("1 attention heads for a hidden size of 8" in text for text in assumed)
    assert not any("heads" in text for text in plan_from_stock(FOLDER / "electra", config=config).assumptions)


def test_a_size_that_contradicts_the_tensors_is_refused(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"vocab_size": 31}))
    with pytest.raises(ValueError, match=r"word_embeddings.weight has shape \(30, 6\), needed is \(31, 6\)"):
        from_stock(FOLDER / "electra", tmp_path / "ours", config=config)
    assert not (tmp_path / "ours").exists()


def test_dry_run_prints_every_variable_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "--model", str(FOLDER / "electra"), "--to", "electra-plus", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for name in load_file(FOLDER / "electra" / "as_tensorflow_reads_it.safetensors"):
        assert name in printed, name
    assert "transposed" in printed and "left out: the optimizer's" in printed
    assert not list(tmp_path.iterdir())
    assert main(["convert", "--model", str(FOLDER / "electra"), "--to", "electra-plus"]) == 2
    assert "`--output` is missing" in capsys.readouterr().err
