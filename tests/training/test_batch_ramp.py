"""Batches that grow: their sizes, their rows, and what does not go with them."""

import pytest
from trainer_helpers import make_trainer

from electra_plus import ElectraPlusTrainingArguments
from electra_plus.data.sources import find_sources
from electra_plus.data.streaming import StreamingRows
from electra_plus.samples import sample_path
from electra_plus.training.batch_ramp import BatchRampSampler


def sampler(num_rows: int = 1000, **changed) -> BatchRampSampler:
    how = {"initial_batch_size": 2, "batch_size": 8, "num_ramp_steps": 4, "num_steps": 6, "seed": 1}
    return BatchRampSampler(num_rows, **{**how, **changed})


def test_sizes_grow_evenly_to_the_full_batch():
    # 6 rows more in 4 steps: 1.5 a step, rounded down
    assert [len(batch) for batch in sampler()] == [2, 3, 5, 6, 8, 8]
    assert [sampler().rows_before(step) for step in range(7)] == [0, 2, 5, 10, 16, 24, 32]
    two_each = sampler(batches_per_step=2)
    assert [len(batch) for batch in two_each] == [2, 2, 3, 3, 5, 5, 6, 6, 8, 8, 8, 8]
    assert len(two_each) == 12 and two_each.rows_before(6) == 64 and two_each.rows_per_step(2) == 10
    assert [len(batch) for batch in sampler(num_ramp_steps=6)] == [2, 3, 4, 5, 6, 7]  # full when the training ends
    assert [len(batch) for batch in sampler(num_ramp_steps=1)] == [2, 8, 8, 8, 8, 8]


def test_every_row_comes_once_in_a_pass_and_passes_differ():
    rows = sum(sampler(num_rows=16), [])  # 32 rows in all
    assert sorted(rows[:16]) == sorted(rows[16:]) == list(range(16))
    assert rows[:16] != rows[16:] and rows[:16] != list(range(16))
    assert sum(sampler(num_rows=16), []) == rows != sum(sampler(num_rows=16, seed=2), [])
    assert sum(sampler(num_rows=1), []) == [0] * 32  # fewer rows than a batch


def test_a_dataset_without_rows_is_refused():
    with pytest.raises(ValueError, match="`train_dataset` must have rows, got none"):
        sampler(num_rows=0)


def test_the_log_says_how_much_a_step_takes(tmp_path, tokenizer, real_rows):
    how = {"initial_train_batch_size": 2, "batch_size_ramp": 0.5, "max_steps": 4, "gradient_accumulation_steps": 2}
    trainer = make_trainer(tmp_path, tokenizer, real_rows, length_ramp=(8, 32, 4), **how)
    shapes = []
    step = trainer.training_step

    def note(model, inputs, *args):
        shapes.append(tuple(inputs["input_ids"].shape))
        return step(model, inputs, *args)

    trainer.training_step = note
    ended = trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["rows_per_step"] for entry in logged] == [4, 10, 16, 16]
    assert [entry["row_length"] for entry in logged] == [8, 16, 32, 32]
    assert [width for _, width in shapes] == [8, 8, 16, 16, 32, 32, 32, 32]
    assert [rows for rows, _ in shapes[4:]] == [8] * 4
    assert ended.metrics["train_samples_per_second"] == pytest.approx(46 / ended.metrics["train_runtime"], rel=0.05)
    assert trainer.state.epoch == 1.0


def test_the_time_left_counts_rows_not_steps(tmp_path, tokenizer, real_rows, monkeypatch):
    how = {"initial_train_batch_size": 1, "batch_size_ramp": 1.0, "max_steps": 4, "per_device_train_batch_size": 5}
    trainer = make_trainer(tmp_path, tokenizer, real_rows, **how)
    monkeypatch.setattr(type(trainer.figures), "seconds_since_start", property(lambda figures: 30.0))
    trainer.train()
    # 1, 2, 3 and 4 rows
    left = [entry["eta_seconds"] for entry in trainer.state.log_history if "loss" in entry]
    assert left == [270, 70, 20, 0]


def test_evaluation_takes_whole_rows_in_full_batches(tmp_path, tokenizer, real_rows):
    how = {"initial_train_batch_size": 2, "batch_size_ramp": 0.5, "length_ramp": (8, 32, 4)}
    trainer = make_trainer(tmp_path, tokenizer, real_rows, eval_rows=real_rows, **how)
    plain = make_trainer(tmp_path, tokenizer, real_rows, eval_rows=real_rows)
    for ours, theirs in zip(trainer.get_eval_dataloader(), plain.get_eval_dataloader(), strict=True):
        assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert trainer.data_collator.length_ramp is not None  # the training goes on with it


def test_a_stream_is_refused(tmp_path, tokenizer):
    rows = StreamingRows(find_sources([sample_path("reviews.txt.gz")]), tokenizer, row_length=32)
    trainer = make_trainer(tmp_path, tokenizer, rows, initial_train_batch_size=2, batch_size_ramp=0.5)
    with pytest.raises(ValueError, match="needs a dataset with a length, got the stream StreamingRows"):
        trainer.train()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size_ramp": None}, "need each other, got 2 and None"),
        ({"initial_train_batch_size": None}, "need each other, got None and 0.5"),
        ({"initial_train_batch_size": 0}, r"at least 1 and below `per_device_train_batch_size` \(8\), got 0"),
        ({"initial_train_batch_size": 8}, "got 8"),
        ({"batch_size_ramp": 0.0}, r"must be in \(0, 1\], a fraction of `max_steps`, got 0.0"),
        ({"batch_size_ramp": 1.5}, "got 1.5"),
        ({"max_steps": -1}, "needs `max_steps`, of which it is a fraction, got -1"),
        ({"ignore_data_skip": True}, "needs `ignore_data_skip=False`, got True"),
        ({"auto_find_batch_size": True}, "needs `auto_find_batch_size=False`, got True"),
        ({"train_sampling_strategy": "sequential"}, "needs `train_sampling_strategy='random'`, got 'sequential'"),
        ({"accelerator_config": {"split_batches": True}}, "needs `split_batches=False`, got True"),
        ({"accelerator_config": {"dispatch_batches": True}}, "needs `dispatch_batches=None`, got True"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, message, tmp_path):
    how = {"initial_train_batch_size": 2, "batch_size_ramp": 0.5, "max_steps": 4, "use_cpu": True}
    with pytest.raises(ValueError, match=message):
        ElectraPlusTrainingArguments(str(tmp_path), **{**how, **changed})
