"""The joint model under the stock `Trainer`: losses, accumulation, several processes, resuming, what is logged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from model_helpers import VOCAB_SIZE, joint_config
from trainer_helpers import STOCK_ARGUMENTS
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments, default_data_collator

from electra_plus import DataCollatorForReplacedTokenDetection, ElectraPlusForPreTraining
from electra_plus.metrics.detection import compute_pretraining_metrics
from electra_plus.training.callbacks import MaskingStepCallback, PretrainingMetricsCallback


def arguments(output_dir, **overrides) -> TrainingArguments:
    return TrainingArguments(output_dir=str(output_dir), **{**STOCK_ARGUMENTS, **overrides})


def joint_model(flavour: str = "modern", **overrides) -> ElectraPlusForPreTraining:
    torch.manual_seed(0)
    return ElectraPlusForPreTraining(joint_config(flavour, **overrides))


def losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_loss_falls_on_real_text_with_the_stock_collator(flavour, tmp_path, tokenizer, real_rows):
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    trainer = Trainer(
        model=joint_model(flavour, discriminator_loss_weight=1.0),
        args=arguments(tmp_path, max_steps=60, learning_rate=3e-3, logging_steps=10),
        train_dataset=real_rows,
        eval_dataset=real_rows,
        data_collator=collator,
        processing_class=tokenizer,
        compute_metrics=compute_pretraining_metrics,
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_generator_loss"] < before["eval_generator_loss"] - 0.5
    assert after["eval_loss"] < before["eval_loss"] - 0.5
    assert losses(trainer)[-1] < losses(trainer)[0] - 0.5
    assert 0 < after["eval_replaced_rate"] < 0.3

    # save, reload, continue
    trainer.save_model(tmp_path / "model")
    reloaded = ElectraPlusForPreTraining.from_pretrained(tmp_path / "model")
    continued = Trainer(
        model=reloaded, args=arguments(tmp_path, max_steps=10), train_dataset=real_rows, data_collator=collator
    )
    continued.train()
    assert losses(continued)[0] < losses(trainer)[0] - 0.5


def test_further_objectives_train_and_evaluate_too(tmp_path, tokenizer, real_rows):
    weights = {"multi_word_choice": 1.0, "corrective_lm": 1.0, "sequence_contrast": 1.0}
    trainer = Trainer(
        model=joint_model(objective_weights=weights),
        args=arguments(tmp_path, max_steps=4),
        train_dataset=real_rows,
        eval_dataset=real_rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
        compute_metrics=compute_pretraining_metrics,
    )
    trainer.train()
    scores = trainer.evaluate()
    # three objectives at about their blind guesses: log 5, at least log 99 / 2, log of the views in a batch
    assert scores["eval_loss"] > scores["eval_generator_loss"] + 50 * scores["eval_discriminator_loss"] + 3


class MaskedRows(torch.utils.data.Dataset):
    """Rows masked beforehand, equally many slots in each, so that a mean over rows is a mean over slots."""

    def __init__(self, num_rows: int = 32, length: int = 16):
        rng = torch.Generator().manual_seed(0)
        self.original = torch.randint(5, VOCAB_SIZE, (num_rows, length), generator=rng)
        self.slots = torch.stack([torch.randperm(length, generator=rng)[:3] for _ in range(num_rows)])

    def __len__(self) -> int:
        return len(self.original)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        labels = torch.full_like(self.original[index], -100)
        labels[self.slots[index]] = self.original[index, self.slots[index]]
        input_ids = self.original[index].clone()
        input_ids[self.slots[index]] = 4
        return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": labels}


def deterministic_run(output_dir, **overrides) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Train without any randomness: no dropout, fixed masks, the likeliest token instead of a draw."""
    trainer = Trainer(
        model=joint_model(generator_temperature=1e-6),
        args=arguments(output_dir, **overrides),
        train_dataset=MaskedRows(),
        data_collator=default_data_collator,
    )
    trainer.train()
    return losses(trainer), {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def test_accumulated_gradients_give_the_loss_of_one_large_batch(tmp_path):
    whole, whole_weights = deterministic_run(tmp_path, per_device_train_batch_size=8)
    parts, part_weights = deterministic_run(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert len(whole) == 4
    assert parts == pytest.approx(whole, rel=1e-4)
    for name, weight in whole_weights.items():
        torch.testing.assert_close(part_weights[name], weight, rtol=1e-3, atol=1e-4)


DDP_SCRIPT = """
import json, sys
from pathlib import Path
from test_stock_trainer import deterministic_run
losses, weights = deterministic_run(sys.argv[1], per_device_train_batch_size=4, ddp_backend="gloo")
import torch.distributed
if torch.distributed.get_rank() == 0:
    assert torch.distributed.get_world_size() == 2
    total = sum(weight.double().abs().sum().item() for weight in weights.values())
    Path(sys.argv[1], "result.json").write_text(json.dumps([losses, total]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.multiprocess
def test_two_processes_give_the_loss_of_one(tmp_path):
    whole, whole_weights = deterministic_run(tmp_path / "one", per_device_train_batch_size=8)
    script = tmp_path / "run.py"
    script.write_text(DDP_SCRIPT)
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script), str(tmp_path)],
        check=True, env=environment, timeout=300,
    )  # fmt: skip
    parallel, total = json.loads((tmp_path / "result.json").read_text())
    assert parallel == pytest.approx(whole, rel=1e-4)
    assert total == pytest.approx(sum(w.double().abs().sum().item() for w in whole_weights.values()), rel=1e-4)


def masking_run(output_dir, tokenizer, rows, resume: bool = False, **overrides) -> Trainer:
    collator = DataCollatorForReplacedTokenDetection(tokenizer, seed=3)
    trainer = Trainer(
        model=joint_model(),
        args=arguments(output_dir, seed=1, **overrides),
        train_dataset=rows,
        data_collator=collator,
        processing_class=tokenizer,
        callbacks=[PretrainingMetricsCallback(), MaskingStepCallback(collator)],
    )
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.multiprocess)])
def test_resumed_run_repeats_the_uninterrupted_one(num_workers, tmp_path, tokenizer, real_rows):
    steps = {"save_strategy": "steps", "save_steps": 5, "dataloader_num_workers": num_workers}
    assert len(real_rows) // 8 > 5  # the resume lies inside an epoch
    whole = masking_run(tmp_path / "whole", tokenizer, real_rows, max_steps=9, **steps)
    interrupted = masking_run(tmp_path / "parts", tokenizer, real_rows, max_steps=9, **steps)
    newest = tmp_path / "parts" / "checkpoint-9"
    newest.rename(tmp_path / "out-of-the-way")
    assert losses(interrupted) == losses(whole)
    resumed = masking_run(tmp_path / "parts", tokenizer, real_rows, resume=True, max_steps=9, **steps)
    assert losses(resumed) == losses(whole)
    for (name, ours), theirs in zip(resumed.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_everything_the_original_logs_is_logged(tmp_path, tokenizer, real_rows):
    trainer = masking_run(tmp_path, tokenizer, real_rows, max_steps=4, logging_steps=2)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 2
    for entry in logged:
        for name in ("accuracy", "precision", "recall", "auc"):
            assert 0 <= entry[f"detection_{name}"] <= 1
        assert 0 <= entry["generator_accuracy"] <= 1
        assert 0 < entry["replaced_rate"] < 0.3
        assert entry["tokens_per_second"] > 0
        expected = entry["generator_loss"] + 50 * entry["discriminator_loss"]
        assert entry["loss"] == pytest.approx(expected, rel=1e-2)  # logged figures are rounded
    assert not trainer.model._forward_hooks  # nothing stays behind
