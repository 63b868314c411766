"""`ElectraPlusTrainer`: exact repetition, resuming, groups, what it logs, and what it does when something fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from model_helpers import joint_config, small_config
from trainer_helpers import ARGUMENTS, losses, make_trainer, weights
from transformers import Trainer, TrainingArguments

import electra_plus
from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusTrainer,
)
from electra_plus.data.length_ramp import LengthRamp
from electra_plus.data.sources import find_sources
from electra_plus.data.streaming import StreamingRows
from electra_plus.optim.adam import AdamWithoutBiasCorrection
from electra_plus.optim.muon import MuonWithAdamW
from electra_plus.samples import sample_path
from electra_plus.training.callbacks import MaskingStepCallback
from electra_plus.training.checkpoints import what_is_wrong

REGIMES = {
    "joint": {},
    "two_stage": {"embedding_sharing": "none"},
    "alternating": {},
    "adversarial": {},
    "frozen_generator": {"embedding_sharing": "gdes"},
}


def assert_same_run(ours, theirs) -> None:
    assert losses(ours) == losses(theirs)
    for name, weight in weights(theirs).items():
        assert torch.equal(weights(ours)[name], weight), name


# both still grow when the run is interrupted
RAMPS = {"initial_train_batch_size": 1, "batch_size_ramp": 0.6, "length_ramp": (8, 32, 10)}


@pytest.mark.parametrize(
    ("regime", "more"), [*((regime, {}) for regime in REGIMES), ("joint", RAMPS), ("joint", {"bf16": True})]
)
def test_a_resumed_run_is_the_uninterrupted_one(regime, more, tmp_path, tokenizer, real_rows, caplog):
    # saved between two logs, inside an epoch, with accumulation and dropout
    how = {
        "model": REGIMES[regime],
        "regime": regime,
        "max_steps": 7,
        "logging_steps": 3,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 4,
        **more,
    }
    whole = make_trainer(tmp_path / "whole", tokenizer, real_rows, **how)
    whole.train()
    parts = make_trainer(tmp_path / "parts", tokenizer, real_rows, save_strategy="steps", save_steps=2, **how)
    parts.train()
    assert_same_run(parts, whole)
    for step in (4, 6, 7):  # as if killed before step 4
        shutil.rmtree(tmp_path / "parts" / f"checkpoint-{step}")
    resumed = make_trainer(tmp_path / "parts", tokenizer, real_rows, save_strategy="steps", save_steps=2, **how)
    with caplog.at_level("WARNING"):
        resumed.train(resume_from_checkpoint=True)
    assert "missing keys" not in caplog.text, "tied tables are saved once"
    assert_same_run(resumed, whole)
    same = ("generator_loss", "discriminator_loss", "detection_auc", "padding_rate", "step")
    for ours, theirs in zip(resumed.state.log_history, whole.state.log_history, strict=True):
        assert {name: ours.get(name) for name in same} == {name: theirs.get(name) for name in same}


def test_bfloat16_learns_as_float32_does(tmp_path, tokenizer, real_rows):
    how = {"max_steps": 30, "logging_steps": 10, "learning_rate": 2e-3}
    runs = [make_trainer(tmp_path, tokenizer, real_rows, **how, bf16=bf16) for bf16 in (False, True)]
    for run in runs:
        run.train()
    exact, rounded = map(losses, runs)
    assert exact != rounded and exact[-1] < 0.8 * exact[0]
    assert rounded == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("length_ramp", [None, (8, 32, 6)])
def test_a_resumed_run_on_a_stream_is_the_uninterrupted_one(length_ramp, tmp_path, tokenizer):
    how = {"length_ramp": length_ramp, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1}

    def trainer():
        rows = StreamingRows(find_sources([sample_path("reviews.txt.gz")]), tokenizer, row_length=32)
        return make_trainer(tmp_path, tokenizer, rows, **how)

    whole = trainer()
    whole.train()
    for step in (3, 4):
        (tmp_path / f"checkpoint-{step}").rename(tmp_path / f"away-{step}")
    resumed = trainer()
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(resumed, whole)


def test_shorter_rows_of_a_stream_on_several_processes_are_refused(tokenizer):
    rows = StreamingRows(find_sources([sample_path("reviews.txt.gz")]), tokenizer, row_length=32)
    collator = DataCollatorForReplacedTokenDetection(tokenizer, length_ramp=LengthRamp(8, 32, 5))
    callback, loader = MaskingStepCallback(collator), SimpleNamespace(dataset=rows)
    with pytest.raises(ValueError, match="`length_ramp` needs a dataset with a length on 2 processes, got a stream"):
        callback.on_train_begin(SimpleNamespace(world_size=2), None, None, train_dataloader=loader)


def test_a_finished_run_stays_as_it_is(tmp_path, tokenizer, real_rows):
    how = {"max_steps": 3, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    whole = make_trainer(tmp_path, tokenizer, real_rows, **how)
    whole.train()
    again = make_trainer(tmp_path, tokenizer, real_rows, **how)
    assert again.train(resume_from_checkpoint=True).global_step == 3
    assert_same_run(again, whole)


@pytest.mark.multiprocess
@pytest.mark.parametrize("ramps", [{}, RAMPS])
def test_a_resumed_run_with_workers_is_the_uninterrupted_one(ramps, tmp_path, tokenizer, real_rows):
    whole = make_trainer(tmp_path / "whole", tokenizer, real_rows, max_steps=5, **ramps)
    whole.train()
    how = {"max_steps": 5, "save_strategy": "steps", "save_steps": 3, "dataloader_num_workers": 2, **ramps}
    parts = make_trainer(tmp_path / "parts", tokenizer, real_rows, **how)
    parts.train()
    assert_same_run(parts, whole)
    resumed = make_trainer(tmp_path / "parts", tokenizer, real_rows, **how)
    (tmp_path / "parts" / "checkpoint-5").rename(tmp_path / "away")
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(resumed, whole)


def test_evaluation_leaves_no_trace_and_repeats_itself(tmp_path, tokenizer, real_rows):
    plain = make_trainer(tmp_path / "plain", tokenizer, real_rows, max_steps=4)
    plain.train()
    how = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 16, "eval_rows": real_rows}
    evaluated = make_trainer(tmp_path / "evaluated", tokenizer, real_rows, max_steps=4, **how)
    evaluated.train()
    assert_same_run(evaluated, plain)
    first, again = evaluated.evaluate(), evaluated.evaluate()
    for name in ("eval_loss", "eval_auc", "eval_generator_loss"):
        assert first[name] == again[name]


def test_a_damaged_checkpoint_is_left_out(tmp_path, tokenizer, real_rows, caplog):
    how = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    whole = make_trainer(tmp_path, tokenizer, real_rows, **how)
    whole.train()
    file = tmp_path / "checkpoint-3" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="optimizer.pt has .* bytes instead of"):
        make_trainer(tmp_path, tokenizer, real_rows, **how).train(str(tmp_path / "checkpoint-3"))
    resumed = make_trainer(tmp_path, tokenizer, real_rows, **how)
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(resumed, whole)
    assert what_is_wrong(tmp_path / "checkpoint-3") is None  # written anew


def test_resuming_without_a_checkpoint_is_refused(tmp_path, tokenizer, real_rows):
    with pytest.raises(FileNotFoundError, match="found no whole checkpoint"):
        make_trainer(tmp_path, tokenizer, real_rows).train(resume_from_checkpoint=True)


def test_checkpoints_open_in_the_stock_way_and_old_ones_go(tmp_path, tokenizer, real_rows):
    how = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    trainer = make_trainer(tmp_path, tokenizer, real_rows, **how)
    trainer.train()
    trainer.save_model()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-4"]
    assert not (tmp_path / ".unfinished").exists()
    for folder in (tmp_path, tmp_path / "checkpoint-4"):
        generator = ElectraPlusForMaskedLM.from_pretrained(folder)
        assert torch.equal(generator.get_input_embeddings().weight, trainer.model.get_input_embeddings().weight)


def test_the_best_checkpoint_is_remembered_by_its_place(tmp_path, tokenizer, real_rows):
    how = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "generator_loss",
        "greater_is_better": False,
    }
    trainer = make_trainer(tmp_path, tokenizer, real_rows, max_steps=3, eval_rows=real_rows, **how)
    trainer.train()
    best = Path(trainer.state.best_model_checkpoint)
    assert best.parent == tmp_path and what_is_wrong(best) is None
    assert json.loads((best / "trainer_state.json").read_text())["best_model_checkpoint"] == str(best)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, tokenizer, real_rows, monkeypatch):
    how = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    trainer = make_trainer(tmp_path, tokenizer, real_rows, **how)
    save = torch.save

    def full(value, file, *args, **kwargs):
        if "checkpoint-2" in str(file):
            raise OSError(28, "No space left on device")
        return save(value, file, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device.*Earlier checkpoints are intact"):
        trainer.train()
    monkeypatch.undo()
    assert what_is_wrong(tmp_path / "checkpoint-1") is None
    assert not (tmp_path / "checkpoint-2").exists() and not (tmp_path / ".unfinished").exists()
    resumed = make_trainer(tmp_path, tokenizer, real_rows, **how)
    resumed.train(resume_from_checkpoint=True)
    whole = make_trainer(tmp_path / "whole", tokenizer, real_rows, max_steps=2)
    whole.train()
    assert_same_run(resumed, whole)


def test_broken_weights_are_not_written(tmp_path, tokenizer, real_rows):
    how = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, "logging_steps": 100}
    trainer = make_trainer(tmp_path, tokenizer, real_rows, **how)
    step = trainer.training_step

    def spoil(model, *args, **kwargs):
        if trainer.state.global_step == 1:
            model.discriminator_predictions.dense.weight.data[0, 0] = torch.nan
        return step(model, *args, **kwargs)

    trainer.training_step = spoil
    with pytest.raises(FloatingPointError, match="checkpoint-2 is not written"):
        trainer.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, tokenizer, real_rows):
    trainer = make_trainer(tmp_path, tokenizer, real_rows, learning_rate=1e30, max_grad_norm=0.0)
    with pytest.raises(FloatingPointError, match="Lower `learning_rate`"):
        trainer.train()


def test_everything_is_logged(tmp_path, tokenizer, real_rows):
    trainer = make_trainer(tmp_path, tokenizer, real_rows, generator_max_grad_norm=0.5, logging_steps=2)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 2
    for entry in logged:
        fractions = ("detection_accuracy", "detection_precision", "detection_recall", "detection_auc", "replaced_rate",
                     "generator_accuracy", "sampled_accuracy", "padding_rate")  # fmt: skip
        assert all(0 <= entry[name] <= 1 for name in fractions)
        assert entry["tokens_per_second"] > 0 and entry["flops_utilization"] > 0 and entry["eta_seconds"] >= 0
        assert entry["generator_grad_norm"] > 0 and entry["grad_norm"] > 0
    assert not trainer.model._forward_hooks  # nothing stays behind


def test_networks_are_clipped_apart(tmp_path, tokenizer, real_rows):
    trainer = make_trainer(tmp_path, tokenizer, real_rows, generator_max_grad_norm=0.25, max_grad_norm=0.5)
    norms = []

    def note(*args, **kwargs):
        parts = {True: [], False: []}
        for group in trainer.optimizer.param_groups:
            parts[group["network"] == "generator"] += [p.grad.norm() for p in group["params"]]
        norms.append({key: torch.stack(values).norm().item() for key, values in parts.items()})

    trainer.callback_handler.callbacks[0].on_pre_optimizer_step = note
    trainer.train()
    assert norms[0] == pytest.approx({True: 0.25, False: 0.5}, rel=1e-3)


@pytest.mark.parametrize(("name", "kind"), [("original", AdamWithoutBiasCorrection), ("muon", MuonWithAdamW)])
def test_own_optimizers_train_and_resume(name, kind, tmp_path, tokenizer, real_rows):
    how = {"optim": name, "lr_scheduler_type": "original", "warmup_steps": 0.25, "max_steps": 4}
    whole = make_trainer(tmp_path / "whole", tokenizer, real_rows, **how)
    whole.train()
    assert isinstance(whole.optimizer.optimizer, kind)
    rates = [entry["learning_rate"] for entry in whole.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0.0, 0.75e-3, 0.5e-3, 0.25e-3])
    parts = make_trainer(tmp_path / "parts", tokenizer, real_rows, save_strategy="steps", save_steps=3, **how)
    parts.train()
    (tmp_path / "parts" / "checkpoint-4").rename(tmp_path / "away")
    resumed = make_trainer(tmp_path / "parts", tokenizer, real_rows, save_strategy="steps", save_steps=3, **how)
    resumed.train(resume_from_checkpoint=True)
    assert_same_run(resumed, whole)


def test_layer_wise_decay_reaches_both_networks(tmp_path, tokenizer, real_rows):
    trainer = make_trainer(tmp_path, tokenizer, real_rows, layerwise_lr_decay=0.5, generator_learning_rate=4e-3)
    trainer.create_optimizer()
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert rates["discriminator_predictions.dense.weight"] == 1e-3
    assert rates["electra.encoder.layer.1.output.dense.weight"] == 0.5e-3
    assert rates["electra.embeddings.word_embeddings.weight"] == 0.125e-3
    assert rates["generator.electra.encoder.layer.0.output.dense.weight"] == 2e-3
    assert rates["generator.generator_predictions.dense.weight"] == 4e-3


def test_warmup_stable_decay_has_a_default_decay(tmp_path, tokenizer, real_rows):
    trainer = make_trainer(tmp_path, tokenizer, real_rows, max_steps=10, lr_scheduler_type="warmup_stable_decay")
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates[:8] == [1e-3] * 8 and rates[9] < 1e-3


def test_a_masked_lm_alone_trains_too(tmp_path, tokenizer, real_rows):
    torch.manual_seed(0)
    model = ElectraPlusForMaskedLM(small_config("modern", sparse_prediction=True))
    trainer = make_trainer(tmp_path, tokenizer, real_rows, model=model, max_steps=30, learning_rate=3e-3)
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0] - 0.5


def tiny_head(name):
    torch.manual_seed(0)
    if name.startswith("ElectraPlus"):
        return getattr(electra_plus, name)(small_config("modern"))
    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return getattr(transformers, name)(
        getattr(transformers, name.partition("For")[0] + "Config")(intermediate_size=32, **sizes)
    )


@pytest.mark.parametrize("name", ["ElectraPlusForSequenceClassification", "ElectraForSequenceClassification"])
def test_without_a_data_collator_a_classifier_gets_its_labels(name, tmp_path, tokenizer):
    model = tiny_head(name)
    rows = [{**tokenizer(text), "labels": number % 2} for number, text in enumerate(["the cat sat", "a dog"] * 8)]
    arguments = electra_plus.ElectraPlusTrainingArguments(
        str(tmp_path), **{**ARGUMENTS, "learning_rate": 1e-2, "max_steps": 20}
    )
    trainer = ElectraPlusTrainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    assert type(trainer.data_collator) is type(
        Trainer(model, TrainingArguments(str(tmp_path), use_cpu=True), processing_class=tokenizer).data_collator
    )
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0] / 2


@pytest.mark.parametrize("name", ["ElectraPlusForPreTraining", "ElectraPlusForMaskedLM", "BertForMaskedLM"])
def test_without_a_data_collator_what_pretrains_gets_masked_rows(name, tmp_path, tokenizer, real_rows):
    model = ElectraPlusForPreTraining(joint_config("modern")) if name.endswith("PreTraining") else tiny_head(name)
    arguments = electra_plus.ElectraPlusTrainingArguments(str(tmp_path), **{**ARGUMENTS, "max_steps": 1})
    trainer = ElectraPlusTrainer(model, arguments, train_dataset=real_rows, processing_class=tokenizer)
    assert type(trainer.data_collator) is DataCollatorForReplacedTokenDetection
    assert trainer.data_collator.seed == arguments.seed
    trainer.train()
    assert losses(trainer)[0] > 1


def test_what_is_saved_may_write_with_a_cache(tmp_path, tokenizer, real_rows):
    trainer = make_trainer(tmp_path, tokenizer, real_rows, max_steps=1)
    trainer.train()
    trainer.save_model(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["use_cache"] is True


def test_stock_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="must be ElectraPlusTrainingArguments"):
        ElectraPlusTrainer(args=TrainingArguments(str(tmp_path)))


RUN_SCRIPT = """
import json, sys
from pathlib import Path
import torch, transformers
from conftest import CORPUS
from electra_plus.data.corpus import pack_rows, read_documents
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.samples import sample_path
from trainer_helpers import losses, make_trainer, weights
output, arguments = Path(sys.argv[1]), json.loads(sys.argv[2])
tokenizer = train_wordpiece_tokenizer(CORPUS * 20, 99)
documents = list(read_documents([sample_path("held_out_book.txt.gz")]))
rows = pack_rows([documents[0][:60]], tokenizer, row_length=32)
trainer = make_trainer(output, tokenizer, rows, **arguments)
trainer.train(resume_from_checkpoint=any(output.glob("checkpoint-*")) or None)
if trainer.args.process_index == 0:
    digest = {name: weight.double().sum().item() for name, weight in weights(trainer).items()}
    (output / "result.json").write_text(json.dumps([losses(trainer), digest]))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def start(folder: Path, arguments: dict, num_processes: int = 1) -> subprocess.Popen:
    script = folder.parent / "run.py"
    script.write_text(RUN_SCRIPT)
    tests = Path(__file__).parent.parent
    paths = [str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    command = [
        sys.executable,
        *(launcher if num_processes > 1 else []),
        str(script),
        str(folder),
        json.dumps(arguments),
    ]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def result(folder: Path, arguments: dict, num_processes: int = 1) -> list:
    process = start(folder, arguments, num_processes)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    return json.loads((folder / "result.json").read_text())


@pytest.mark.multiprocess
@pytest.mark.parametrize("ramp", [{}, {"initial_train_batch_size": 1, "batch_size_ramp": 0.75}])
def test_two_processes_are_one_that_accumulates(ramp, tmp_path):
    arguments = {"max_steps": 4, "per_device_train_batch_size": 4, **ramp}
    whole, whole_weights = result(tmp_path / "one", {**arguments, "gradient_accumulation_steps": 2})
    parallel, parallel_weights = result(tmp_path / "two", {**arguments, "ddp_backend": "gloo"}, num_processes=2)
    # masks, draws and dropout are the same; sums run in another order
    assert parallel == pytest.approx(whole, rel=1e-5)
    assert parallel_weights == pytest.approx(whole_weights, rel=1e-3, abs=1e-4)


@pytest.mark.multiprocess
@pytest.mark.parametrize(("regime", "ramps"), [("joint", {}), ("alternating", {}), ("joint", RAMPS)])
def test_two_processes_resume_exactly(regime, ramps, tmp_path):
    arguments = {
        "max_steps": 5,
        "per_device_train_batch_size": 4,
        "save_strategy": "steps",
        "save_steps": 3,
        "logging_steps": 2,
        "ddp_backend": "gloo",
        "regime": regime,
        **ramps,
    }
    whole = result(tmp_path / "run", arguments, num_processes=2)
    (tmp_path / "run" / "checkpoint-5").rename(tmp_path / "away")
    assert result(tmp_path / "run", arguments, num_processes=2) == whole


@pytest.mark.slow
@pytest.mark.multiprocess
def test_killed_runs_end_as_if_never_killed(tmp_path):
    arguments = {"max_steps": 60, "save_strategy": "steps", "save_steps": 3, "save_total_limit": 2, "logging_steps": 2}
    whole = result(tmp_path / "whole", arguments)
    folder, num_kills = tmp_path / "killed", 0
    rng = torch.Generator().manual_seed(0)
    while not (folder / "result.json").exists():
        process = start(folder, arguments)
        checkpoints = {path.name for path in folder.glob("checkpoint-*")} if folder.exists() else set()
        while process.poll() is None and {path.name for path in folder.glob("checkpoint-*")} == checkpoints:
            pass  # runs until it has got somewhere
        if num_kills < 5 and process.poll() is None:
            time.sleep(torch.rand((), generator=rng).item() * 0.3)
            os.killpg(process.pid, signal.SIGKILL)
            num_kills += process.wait() == -signal.SIGKILL
        else:
            process.wait()
    assert num_kills == 5
    assert json.loads((folder / "result.json").read_text()) == whole
