"""The recipe of `electra-plus pretrain`: what it leaves behind, and that a resumed run equals an uninterrupted one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from electra_plus import ElectraPlusConfig, ElectraPlusTrainingArguments
from electra_plus.data.corpus import read_documents
from electra_plus.recipes.checkpoint_tokenizers import refuse_another_vocabulary
from electra_plus.recipes.preparation import PreparationSettings, prepare
from electra_plus.recipes.pretraining import (
    DEFAULT_TRAINING,
    PretrainingSettings,
    fast_bfloat16,
    pretrain,
    rows_of_text,
)
from electra_plus.recipes.settings import load_settings, recipe_file, training_arguments
from electra_plus.samples import sample_path

STEPS, SAVED_AT = 6, 4


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    book = next(iter(read_documents([sample_path("held_out_book.txt.gz")])))[:150]
    file = tmp_path_factory.mktemp("text") / "book.txt"
    file.write_text("\n".join(book), encoding="utf-8")
    return str(file)


def settings(text: str, output, **overrides) -> PretrainingSettings:
    training = {"max_steps": STEPS, "per_device_train_batch_size": 4, "save_steps": SAVED_AT, "logging_steps": 1,
                "eval_strategy": "no", "disable_tqdm": True, "use_cpu": True}  # fmt: skip
    return PretrainingSettings(
        **{"train_files": [text], "output_dir": str(output), "vocab_size": 300, "row_length": 32, "training": training}
        | overrides
    )


def log_of(folder) -> list[dict]:
    """Losses and what the original logs, without what depends on the clock."""
    state = json.loads((folder / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    entries = [entry for entry in state["log_history"] if "loss" in entry]
    of_clock = ("tokens_per_second", "flops_utilization", "eta_seconds")
    return [{key: value for key, value in entry.items() if key not in of_clock} for entry in entries]


def test_folder_holds_model_tokenizer_and_figures_and_a_resumed_run_is_equal(text, tmp_path):
    figures = pretrain(settings(text, tmp_path / "whole"))
    saved = json.loads((tmp_path / "whole" / "eval_results.json").read_text())
    assert saved["eval_auc"] == figures["eval_auc"] and 0 < figures["eval_generator_loss"] < 6.5
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "whole").mask_token == "[MASK]"
    model = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "whole")
    assert model.config.vocab_size == model.config.generator_config.vocab_size <= 300

    # as if the process had been killed after the first checkpoint
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / f"checkpoint-{STEPS}")
    (tmp_path / "parts" / "model.safetensors").unlink()
    resumed = pretrain(settings(text, tmp_path / "parts"))
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")
    again = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "parts")
    for (name, ours), expected in zip(again.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, expected), name
    assert resumed["eval_generator_loss"] == pytest.approx(figures["eval_generator_loss"])


def test_a_prepared_folder_is_trained_on_and_gone_on_with(text, tmp_path):
    texts = []
    for number, paragraph in enumerate(Path(text).read_text(encoding="utf-8").split("\n")[:120]):
        texts.append(json.dumps({"text": f"{number}. {paragraph}"}))
    (tmp_path / "text.jsonl").write_text("\n".join(texts), encoding="utf-8")
    preparation = PreparationSettings(
        [str(tmp_path / "text.jsonl")], str(tmp_path / "rows"), row_length=32, vocab_size=300, held_out_fraction=0.1
    )
    manifest = prepare(preparation)
    assert manifest["train"]["padding_fraction"] < 0.02

    def run(name: str) -> PretrainingSettings:
        # the prepared rows have 32 tokens, whatever `row_length` says; both ramps go on when the run is interrupted
        ramps = {"initial_row_length": 8, "length_ramp": 0.9, "row_length": 128}
        begun = settings(text, tmp_path / name, train_files=None, dataset=str(tmp_path / "rows"), **ramps)
        begun.training |= {"initial_train_batch_size": 1, "batch_size_ramp": 0.9}
        return begun

    figures = pretrain(run("whole"))
    assert 0 < figures["eval_generator_loss"] < 6.5
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / f"checkpoint-{STEPS}")
    pretrain(run("parts"))
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")
    assert all(entry["padding_rate"] < 0.1 for entry in log_of(tmp_path / "whole"))  # of a few rows
    assert [entry["row_length"] for entry in log_of(tmp_path / "whole")] == [8, 8, 8, 16, 16, 32]
    assert [entry["rows_per_step"] for entry in log_of(tmp_path / "whole")] == [1, 1, 2, 2, 3, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"initial_row_length": 8}, "`initial_row_length` and `length_ramp` need each other, got 8 and None"),
        ({"length_ramp": 0.5}, "need each other, got None and 0.5"),
        ({"initial_row_length": 8, "length_ramp": 2.0}, r"`length_ramp` must be in \(0, 1\], .* got 2.0"),
        ({"initial_row_length": 12, "length_ramp": 0.5}, r"halved once or more.*got 12. Choose one of \[16, 8\]"),
        (
            {"initial_row_length": 8, "length_ramp": 0.5, "training": {"max_steps": -1}},
            "`length_ramp` needs `training: {max_steps",
        ),
    ],
)
def test_a_wrong_ramp_is_told_before_the_text_is_read(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pretrain(settings(str(tmp_path / "no_such_text.txt"), tmp_path / "out", **wrong))
    assert not (tmp_path / "out").exists()


CONFIGS = sorted((Path(recipe_file("classic-small")).parent).glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_recipes_that_ship_can_be_built(file, tmp_path):
    loaded = load_settings(PretrainingSettings, None, {"dataset": "rows", "output_dir": str(tmp_path)}, file)
    arguments = training_arguments(ElectraPlusTrainingArguments, str(tmp_path), DEFAULT_TRAINING, loaded.training)
    assert arguments.max_steps > 0 or arguments.num_train_epochs > 3
    if loaded.discriminator is None:
        config = ElectraPlusConfig.preset(loaded.preset, vocab_size=loaded.vocab_size, **loaded.model)
        assert loaded.row_length <= config.max_position_embeddings


def test_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="must be one of .*'classic-small'"):
        recipe_file("classic-smal")


def test_a_file_and_flags_replace_what_a_recipe_says(tmp_path):
    (tmp_path / "own.yaml").write_text("training: {max_steps: 7}\nmask_rate: 0.2")
    given = {"dataset": "rows", "output_dir": "out", "mask_rate": None, "row_length": 64}
    loaded = load_settings(PretrainingSettings, tmp_path / "own.yaml", given, recipe_file("classic-small"))
    assert loaded.training["max_steps"] == 7 and loaded.training["optim"] == "original"
    assert (loaded.mask_rate, loaded.row_length, loaded.preset) == (0.2, 64, "small")


def test_networks_that_exist_are_trained_on(text, tmp_path):
    first = pretrain(settings(text, tmp_path / "joint"))
    on = pretrain(settings(text, tmp_path / "on", discriminator=str(tmp_path / "joint")))
    assert on["eval_generator_loss"] < first["eval_generator_loss"]  # with the tokenizer of the joint checkpoint

    vocabulary = len(transformers.AutoTokenizer.from_pretrained(tmp_path / "joint"))
    bert = transformers.BertConfig(vocab_size=vocabulary, hidden_size=32, num_hidden_layers=1, num_attention_heads=1)
    transformers.BertForMaskedLM(bert).save_pretrained(tmp_path / "bert")
    frozen = settings(
        text, tmp_path / "frozen", generator=str(tmp_path / "bert"), tokenizer=str(tmp_path / "joint"), preset="tiny"
    )
    frozen.training["regime"] = "frozen_generator"
    pretrain(frozen)
    model = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "frozen")
    before = transformers.BertForMaskedLM.from_pretrained(tmp_path / "bert")
    for ours, theirs in zip(model.generator.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours, theirs)

    model.discriminator.save_pretrained(tmp_path / "detector")
    with pytest.raises(ValueError, match="is no joint checkpoint, so it needs a `generator`"):
        pretrain(
            settings(text, tmp_path / "x", discriminator=str(tmp_path / "detector"), tokenizer=str(tmp_path / "joint"))
        )


@pytest.fixture(scope="module")
def prepared(text, tmp_path_factory) -> str:
    """Rows of a book with the tokenizer trained on it."""
    folder = tmp_path_factory.mktemp("prepared")
    lines = Path(text).read_text(encoding="utf-8").split("\n")[:100]
    (folder / "book.txt").write_text("\n\n".join(lines), encoding="utf-8")
    prepare(
        PreparationSettings(
            [str(folder / "book.txt")],
            str(folder / "rows"),
            row_length=32,
            vocab_size=300,
            lowercase=False,
            held_out_fraction=0.1,
        )
    )
    return str(folder / "rows")


def save_bert(folder: Path, vocab_size: int, tokenizer=None) -> str:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=vocab_size, **sizes)).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return str(folder)


def exchanged(tokenizer, first: int, second: int):
    """A tokenizer with two of its tokens exchanged."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    tokens[first], tokens[second] = tokens[second], tokens[first]
    return transformers.BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, do_lower_case=False)


@pytest.mark.parametrize("argument", ["generator", "discriminator"])
def test_networks_of_another_vocabulary_are_refused(argument, text, prepared, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(prepared)
    size = len(tokenizer)
    tokens = [tokenizer.convert_ids_to_tokens(index) for index in (20, 40)]
    other = save_bert(tmp_path / "other", size, exchanged(tokenizer, 20, 40))
    for source, cure in (
        (
            {"train_files": None, "dataset": prepared},
            f"Prepare the text for it: electra-plus prepare --tokenizer {other}",
        ),
        ({"tokenizer": prepared}, "Give the checkpoint's, or leave `tokenizer` out."),
    ):
        with pytest.raises(ValueError) as error:
            pretrain(settings(text, tmp_path / "out", preset="tiny", **{argument: other}, **source))
        found = str(error.value)
        assert f"`{argument}` ({other!r}) must read the vocabulary of `" in found and found.endswith(cure)
        assert f"2 ids stand for other tokens, such as 20 for {tokens[1]!r}, not {tokens[0]!r}" in found
    bare = save_bert(tmp_path / "bare", size + 8)
    with pytest.raises(ValueError, match=f"it has {size + 8} tokens, not {size}, and no tokenizer beside it. Prepare"):
        pretrain(settings(text, tmp_path / "out", train_files=None, dataset=prepared, **{argument: bare}))
    small = save_bert(tmp_path / "small", size - 8, tokenizer)
    with pytest.raises(ValueError, match=f"it has {size - 8} tokens, not {size}. Prepare"):
        pretrain(settings(text, tmp_path / "out", train_files=None, dataset=prepared, **{argument: small}))
    with pytest.raises(OSError, match="must have a tokenizer, got none. Save it"):
        pretrain(settings(text, tmp_path / "out", **{argument: bare}))
    with pytest.raises(OSError, match=f"`{argument} no such folder` is no checkpoint"):
        pretrain(settings(text, tmp_path / "out", tokenizer=prepared, **{argument: "no such folder"}))
    assert not (tmp_path / "out").exists()


def test_a_prepared_folder_is_trained_on_by_networks_of_its_vocabulary(text, prepared, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(prepared)
    refuse_another_vocabulary("generator", save_bert(tmp_path / "bare", len(tokenizer)), tokenizer, "", "")
    padded = save_bert(tmp_path / "padded", len(tokenizer) + 4, tokenizer)  # more rows than tokens
    refuse_another_vocabulary("generator", padded, tokenizer, "", "")
    generator = save_bert(tmp_path / "bert", len(tokenizer), tokenizer)
    run = settings(text, tmp_path / "run", train_files=None, dataset=prepared, generator=generator, preset="tiny")
    run.training["max_steps"] = 1
    assert pretrain(run)["eval_generator_loss"] > 0


def test_a_generator_that_is_described_has_the_vocabulary_of_the_rows(text, prepared, tmp_path):
    described = {"embedding_size": 128, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    # the text is too short for the 8192 tokens that are asked for
    for name, source in (("rows", {"train_files": None, "dataset": prepared}), ("text", {"train_files": [text]})):
        model = {"generator_config": described}
        run = settings(text, tmp_path / name, preset="tiny", model=model, **{"vocab_size": 8192, **source})
        run.training["max_steps"] = 1
        pretrain(run)
        config = ElectraPlusConfig.from_pretrained(tmp_path / name)
        assert config.vocab_size == config.generator_config.vocab_size < 8192
        assert config.generator_config.hidden_size == 32
    wrong = {"generator_config": {**described, "vocab_size": 8192}}
    size = len(transformers.AutoTokenizer.from_pretrained(prepared))
    with pytest.raises(ValueError, match=rf"`generator_config.vocab_size` \(8192\) must equal `vocab_size` \({size}\)"):
        pretrain(settings(text, tmp_path / "x", preset="tiny", train_files=None, dataset=prepared, model=wrong))


def test_text_or_dataset_must_be_given(text, tmp_path):
    for wrong in ({"train_files": None}, {"dataset": "rows"}):
        with pytest.raises(ValueError, match="`train_files` or `dataset` must be given"):
            pretrain(settings(text, tmp_path / "out", **wrong))
    with pytest.raises(ValueError, match="brings its tokenizer"):
        pretrain(settings(text, tmp_path / "out", train_files=None, dataset="rows", tokenizer="x"))


def test_other_settings_are_refused_unless_told_what_to_do(text, tmp_path):
    first = pretrain(settings(text, tmp_path / "run", seed=1))
    with pytest.raises(ValueError, match=r"holds a run with other \['mask_rate', 'seed'\]"):
        pretrain(settings(text, tmp_path / "run", seed=2, mask_rate=0.3))
    assert json.loads((tmp_path / "run" / "pretraining.json").read_text())["seed"] == 1
    anew = pretrain(settings(text, tmp_path / "run", seed=2), restart=True)
    assert anew["eval_generator_loss"] != first["eval_generator_loss"]
    longer = settings(text, tmp_path / "run", seed=2)
    longer.training["max_steps"] = STEPS + 2
    pretrain(longer, resume=True)
    assert (tmp_path / "run" / f"checkpoint-{STEPS + 2}").is_dir()


def test_resume_without_a_checkpoint_is_refused(text, tmp_path):
    with pytest.raises(FileNotFoundError, match="found no whole checkpoint"):
        pretrain(settings(text, tmp_path / "nothing"), resume=True)
    with pytest.raises(ValueError, match="exclude each other"):
        pretrain(settings(text, tmp_path / "nothing"), resume=True, restart=True)


def test_wrong_model_field_is_told_before_the_text_is_read(tmp_path):
    wrong = settings(str(tmp_path / "no_such_text.txt"), tmp_path / "out", model={"num_attention_heads": 7})
    with pytest.raises(ValueError, match="`num_attention_heads`"):
        pretrain(wrong)
    assert not (tmp_path / "out").exists()


def test_text_that_the_tokenizer_does_not_know_is_told(tmp_path, caplog):
    thai = "ผมชอบแมวตัวนี้ " * 50 + "ที่บ้าน" * 100  # of 1,400 characters 700 are one token
    (tmp_path / "thai.txt").write_text(thai, encoding="utf-8")
    run = settings(str(tmp_path / "thai.txt"), tmp_path / "out", vocab_size=40)
    rows, held_out, tokenizer = rows_of_text(run, None)
    ids = [token for row in (*rows.rows, *held_out.rows) for token in row]
    assert ids.count(tokenizer.unk_token_id) == 1
    assert f"[UNK] is {100 / len(ids):.2f} % of the tokens and hides 50.0 % of the text" in caplog.text


def test_one_row_of_text_is_too_little(tmp_path):
    (tmp_path / "short.txt").write_text("a short text of a few words only, nothing more\n" * 2)
    with pytest.raises(ValueError, match="`train_files` gives 1 row"):
        pretrain(settings(str(tmp_path / "short.txt"), tmp_path / "out"))


@pytest.mark.parametrize(
    ("able", "expected"), [({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx512_bf16": False}, True), ({}, False)]
)
def test_bfloat16_is_for_processors_that_have_instructions_for_it(able, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert fast_bfloat16(on_cpu=True) is expected


def test_precision_is_kept_with_the_run_and_the_user_has_the_last_word(text, tmp_path, monkeypatch):
    def kept(folder, **training):
        short = settings(text, tmp_path / folder)
        pretrain(replace(short, training={**short.training, "max_steps": 1, "save_steps": 1, **training}))
        return json.loads((tmp_path / folder / "pretraining.json").read_text())["training"]["bf16"]

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert kept("fast") is True and kept("chosen", bf16=False) is False
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    with pytest.raises(ValueError, match=r"other \['training.bf16'\]"):
        kept("fast")


def test_a_compiled_run_meets_one_shape(text, tmp_path):
    graphs = []
    for steps in (1, 4):
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        training = settings(text, tmp_path).training
        training |= {"max_steps": steps, "torch_compile": True, "torch_compile_backend": "eager", "save_strategy": "no"}
        pretrain(settings(text, tmp_path / str(steps), preset="tiny", training=training))
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs == [1, 1], "the whole step in one, which later steps compile no more"
