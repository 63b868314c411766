"""Exported graphs give the model's scores whatever the batch, open as pipelines, and are written whole or not at all."""

import json
import shutil
from functools import partial

import pytest
import torch
import transformers
from head_helpers import batch_for, make_model, scores_of
from model_helpers import VOCAB_SIZE
from pipeline_helpers import LONG, SENTENCES, SHORT, assert_same, build, small_tokenizer, stock, translator

import electra_plus
from electra_plus.cli.main import main
from electra_plus.export import export_onnx, onnx_folder
from electra_plus.pipelines import OnnxModel
from electra_plus.registration import HEADS

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXPORTED = [head.class_name for head in HEADS if head.class_name not in onnx_folder.NO_GRAPH]


@pytest.fixture
def said_by_transformers(caplog):
    """What transformers logs; its loggers hand nothing to pytest's by themselves."""
    transformers.utils.logging.enable_propagation()
    yield caplog
    transformers.utils.logging.disable_propagation()


def save(model, folder):
    model.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder of a classifier, that of its graph, and what the export said."""
    folder = tmp_path_factory.mktemp("export")
    labels = {"bad": 0, "neutral": 1, "entailment": 2}
    fields = {"id2label": {number: label for label, number in labels.items()}, "label2id": labels}
    fields["auto_map"] = {"AutoModelForSequenceClassification": "file.Class"}
    save(build("SequenceClassification", flavour="classic", num_labels=3, **fields), folder / "model")
    return folder / "model", folder / "onnx", export_onnx(folder / "model", folder / "onnx")


def test_folder_holds_graph_config_and_tokenizer_alone(classifier):
    _, folder, report = classifier
    assert {file.name for file in folder.iterdir()} == {
        "model.onnx",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    fields = json.loads((folder / "config.json").read_text())
    assert fields["architectures"] == ["ElectraPlusForSequenceClassification"] and fields["id2label"]["0"] == "bad"
    assert "auto_map" not in fields
    assert report["class"] == "ElectraPlusForSequenceClassification" and report["outputs"] == ["logits"]
    assert report["bytes"] == (folder / "model.onnx").stat().st_size
    assert 0 < report["largest_difference"] <= 1e-4
    assert not list(folder.parent.glob(".onnx*"))


def test_pipeline_on_the_folder_gives_the_models_answers(classifier):
    model, folder, _ = classifier
    expected = electra_plus.pipeline("text-classification", str(model), device="cpu")
    found = electra_plus.pipeline("text-classification", folder)
    texts = [SHORT, "", LONG, *SENTENCES, {"text": SENTENCES[0], "text_pair": SENTENCES[1]}]
    assert_same(found(texts, top_k=None), expected(texts, top_k=None))
    in_passages = {"return_evidence": True, "chunk_length": 20}
    assert_same(found(SHORT, **in_passages), expected(SHORT, **in_passages))
    assert_same(list(found(iter(texts * 9), batch_size=4, num_workers=2)), expected(texts * 9))


@pytest.mark.parametrize("task", ["sentiment-analysis", "zero-shot-classification"])
def test_stock_pipelines_take_the_model_without_complaint(task, classifier, said_by_transformers):
    model, folder, _ = classifier
    pipes = [electra_plus.pipeline(task, str(model), device="cpu"), electra_plus.pipeline(task, str(folder))]
    if task == "zero-shot-classification":
        expected, found = (pipe(list(SENTENCES), candidate_labels=["sea", "music"]) for pipe in pipes)
    else:
        stock_pipe = partial(transformers.TextClassificationPipeline, tokenizer=small_tokenizer())
        expected, found = (stock_pipe(model=pipe.model)(SHORT) for pipe in pipes)
    assert_same(found, expected)
    assert "is not supported" not in said_by_transformers.text


def test_inputs_left_out_are_what_a_tokenizer_gives_for_one_text(classifier):
    graph = OnnxModel.from_pretrained(classifier[1])
    ids = torch.randint(5, 90, (2, 9))
    whole = graph(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids)).logits
    assert torch.equal(graph(ids).logits, whole)


def test_graph_that_computes_something_else_is_refused_and_nothing_is_written(classifier, tmp_path, monkeypatch):
    _, folder, _ = classifier
    other = build("SequenceClassification", flavour="classic", num_labels=3)
    with torch.no_grad():
        other.classifier.out_proj.bias[1] += 1e-3
    save(other, tmp_path / "other")
    monkeypatch.setattr(
        onnx_folder, "_write_graph", lambda *arguments: shutil.copy(folder / "model.onnx", arguments[4])
    )
    with pytest.raises(
        ValueError, match=r"differs from the model by up to 0.001, more than 0.0001. Nothing was written"
    ):
        export_onnx(tmp_path / "other", tmp_path / "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert export_onnx(tmp_path / "other", tmp_path / "onnx", check=False)["largest_difference"] is None
    assert (tmp_path / "onnx" / "model.onnx").is_file()


def test_graph_with_other_shapes_is_refused(classifier, tmp_path, monkeypatch):
    _, folder, _ = classifier
    save(build("SequenceClassification", flavour="classic", num_labels=2), tmp_path / "other")
    monkeypatch.setattr(
        onnx_folder, "_write_graph", lambda *arguments: shutil.copy(folder / "model.onnx", arguments[4])
    )
    with pytest.raises(ValueError, match=r"`logits` of the graph has the shape \(1, 3\), not \(1, 2\)"):
        export_onnx(tmp_path / "other", tmp_path / "onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, r"`dtype` must be one of \['float32', 'float16'\], got 'int8'"),
        ({"opset": 17}, "`opset` must be at least 18, got 17"),
        ({"task": "translation"}, "`task` must be one of .*'fill-mask'.*, got 'translation'"),
        ({"task": "token-classification"}, "no trained weights for ElectraPlusForTokenClassification: classifier"),
        ({"output_dir": "full"}, "`output_dir` must be new or empty"),
    ],
)
def test_what_cannot_be_exported_is_said(arguments, message, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match=message):
        export_onnx(**{"model": classifier[0], "output_dir": "onnx", **arguments})
    assert [file.name for file in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_models_that_make_no_graph_are_refused(tmp_path):
    translator().save_pretrained(tmp_path / "translator")
    with pytest.raises(ValueError, match="is an encoder-decoder, whose decoder"):
        export_onnx(tmp_path / "translator", tmp_path / "onnx")
    build("LongSequenceClassification").save_pretrained(tmp_path / "reader")
    with pytest.raises(ValueError, match="how many chunks it reads depends on the text"):
        export_onnx(tmp_path / "reader", tmp_path / "onnx")
    stock("PreTraining").save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "architectures": ["Unheard"]}))
    with pytest.raises(ValueError, match="was saved as Unheard, which neither .*Say what it is for: `task`"):
        export_onnx(tmp_path / "model", tmp_path / "onnx")
    quantized = {**config, "quantization_config": {"quant_method": "torchao"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(quantized))
    with pytest.raises(ValueError, match="is quantized, and its operators have no ONNX form"):
        export_onnx(tmp_path / "model", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_model_that_cannot_be_traced_is_said_in_one_line(classifier, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.onnx.OnnxExporterError("a page of advice\non many lines") from NotImplementedError(
            "no such operator"
        )

    monkeypatch.setattr(torch.onnx, "export", fail)
    message = "torch makes no graph of ElectraPlusForSequenceClassification: NotImplementedError: no such operator$"
    with pytest.raises(ValueError, match=message):
        export_onnx(classifier[0], tmp_path / "onnx")
    assert not list(tmp_path.iterdir())


def test_missing_package_is_said_with_its_cure(monkeypatch, capsys):
    monkeypatch.setattr("electra_plus.pipelines.onnx_model.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'electra-plus\[onnx\]'"):
        export_onnx("model", "onnx")
    assert main(["export", "--model", "model", "--output", "onnx"]) == 2
    assert capsys.readouterr().err == (
        "electra-plus export: ONNX needs the package onnx: `pip install 'electra-plus[onnx]'`.\n"
    )


def test_folders_that_are_opened_the_wrong_way(classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`folder` must hold a model.onnx"):
        OnnxModel.from_pretrained(tmp_path)
    for task in ("text-generation", "translation"):
        with pytest.raises(ValueError, match=r"`task` must be one that scores text"):
            electra_plus.pipeline(task, classifier[1])
    assert electra_plus.pipeline(None, classifier[1]).task == "text-classification", "the class says what it is for"


# ---- every head ----


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["classic", "modern"])
@pytest.mark.parametrize("name", EXPORTED)
def test_graph_gives_the_scores_of_batches_it_was_not_traced_with(name, flavour, tmp_path):
    model = make_model(name, flavour, initializer_range=0.3)
    model.save_pretrained(tmp_path / "model")
    report = export_onnx(tmp_path / "model", tmp_path / "onnx")
    assert report["largest_difference"] <= 1e-4
    graph = OnnxModel.from_pretrained(tmp_path / "onnx")
    for length in (2, 17, 63, 100):  # with a window of 8, blocks begin at 24 tokens
        batch = batch_for(name, length=max(length, 7))
        batch = {key: tensor[..., :length].contiguous() for key, tensor in batch.items()}
        with torch.no_grad():
            expected = scores_of(model(**batch), batch)
        found = scores_of(graph(**batch), batch)
        assert found.keys() == expected.keys() and found
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "head"),
    [
        ("feature-extraction", "PreTraining"),
        ("fill-mask", "PreTraining"),
        ("replaced-token-detection", "PreTraining"),
        ("token-classification", "TokenClassification"),
        ("question-answering", "QuestionAnswering"),
    ],
)
@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_pipelines_of_other_tasks_give_the_models_answers(task, head, flavour, tmp_path, said_by_transformers):
    folder = save(build(head, flavour=flavour), tmp_path / "model")
    export_onnx(folder, tmp_path / "onnx", task="extractive-qa" if task == "question-answering" else task)
    pipes = [electra_plus.pipeline(task, str(folder), device="cpu"), electra_plus.pipeline(task, tmp_path / "onnx")]
    inputs = [*SENTENCES, SHORT]
    if task == "fill-mask":
        inputs = [text.replace("a ", "[MASK] ", 1) + " [MASK]" for text in inputs]
    elif task == "question-answering":
        inputs = [{"question": "Who sings?", "context": context} for context in (LONG, SHORT)]
    elif task != "feature-extraction":
        inputs.append(LONG)
    expected, found = (pipe(inputs) for pipe in pipes)
    # scores of single words may be the same to the last digit, and then their order is free
    assert_same(found, expected)
    assert "is not supported" not in said_by_transformers.text


@pytest.mark.slow
def test_joint_folder_gives_detector_generator_and_encoder(tmp_path):
    joint = build("PreTraining")
    save(joint, tmp_path / "joint")
    classes = {
        None: "ElectraPlusForReplacedTokenDetection",
        "fill-mask": "ElectraPlusForMaskedLM",
        "feature-extraction": "ElectraPlusModel",
    }
    ids = torch.randint(5, VOCAB_SIZE, (2, 11))
    for task, class_name in classes.items():
        assert export_onnx(tmp_path / "joint", tmp_path / "onnx", task=task, overwrite=True)["class"] == class_name
        found = OnnxModel.from_pretrained(tmp_path / "onnx")(ids)[0]
        with torch.no_grad():
            expected = {None: joint, "fill-mask": joint.generator, "feature-extraction": joint.electra}[task](ids)
        expected = expected.last_hidden_state if task == "feature-extraction" else expected.logits
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_stock_models_are_exported_too(tmp_path):
    save(stock("PreTraining"), tmp_path / "electra")
    report = export_onnx(tmp_path / "electra", tmp_path / "electra-onnx")
    assert report["class"] == "ElectraForPreTraining"
    pipes = [
        electra_plus.pipeline("replaced-token-detection", str(tmp_path / name)) for name in ("electra", "electra-onnx")
    ]
    assert_same(pipes[1]([SHORT, LONG]), pipes[0]([SHORT, LONG]))
    sizes = {"vocab_size": 99, "dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 64}
    transformers.DistilBertModel(transformers.DistilBertConfig(**sizes)).save_pretrained(tmp_path / "distilbert")
    assert export_onnx(tmp_path / "distilbert", tmp_path / "out")["inputs"] == ["input_ids", "attention_mask"]
    with pytest.raises(ValueError, match="The graph has no input `token_type_ids`"):
        ids = torch.ones(1, 3, dtype=torch.long)
        OnnxModel.from_pretrained(tmp_path / "out")(ids, token_type_ids=ids)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["BertForMaskedLM", "RobertaForTokenClassification", "ModernBertForSequenceClassification", "AlbertModel"]
)
def test_other_encoders_of_transformers_are_exported(name, tmp_path):
    model_class = getattr(transformers, name)
    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    config = model_class.config_class(**sizes, intermediate_size=64, max_position_embeddings=64, **special)
    torch.manual_seed(0)
    model_class(config).save_pretrained(tmp_path / "model")
    report = export_onnx(tmp_path / "model", tmp_path / "onnx")
    assert report["class"] == name and report["largest_difference"] <= 1e-4


@pytest.mark.slow
def test_generator_of_another_model_type_is_exported_from_the_joint_folder(tmp_path):
    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = transformers.BertForMaskedLM(transformers.BertConfig(**sizes, intermediate_size=64))
    detector = make_model("ElectraPlusForReplacedTokenDetection", "classic")
    joint = electra_plus.ElectraPlusForPreTraining.from_generator_discriminator(bert, detector)
    joint.save_pretrained(tmp_path / "joint")
    assert export_onnx(tmp_path / "joint", tmp_path / "onnx", task="fill-mask")["class"] == "BertForMaskedLM"


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_float16_halves_the_weights(flavour, tmp_path):
    fields = {"hidden_size": 64, "embedding_size": 64, "intermediate_size": 256, "num_labels": 3}
    save(build("SequenceClassification", flavour=flavour, **fields), tmp_path / "model")
    whole = export_onnx(tmp_path / "model", tmp_path / "onnx")
    half = export_onnx(tmp_path / "model", tmp_path / "half", dtype="float16")
    assert half["bytes"] < 0.75 * whole["bytes"]  # the graph itself is a large part of so small a model
    assert 1e-5 < half["largest_difference"] < 0.05
    answers = [electra_plus.pipeline("text-classification", tmp_path / name)(SHORT)[0] for name in ("model", "half")]
    assert answers[0]["label"] == answers[1]["label"]
    assert answers[0]["score"] == pytest.approx(answers[1]["score"], abs=0.02)


@pytest.mark.slow
def test_command_writes_the_folder_and_says_the_difference(classifier, tmp_path, capsys):
    arguments = ["export", "--model", str(classifier[0]), "--output", str(tmp_path / "onnx"), "--opset", "20"]
    assert main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert "ElectraPlusForSequenceClassification" in said[0] and said[0].endswith("scores logits")
    assert said[1].startswith("largest difference from the model on batches of many shapes: ")
    import onnx

    opsets = {one.domain: one.version for one in onnx.load(tmp_path / "onnx" / "model.onnx").opset_import}
    assert opsets[""] == 20
    assert main([*arguments, "--no-check", "--overwrite"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
