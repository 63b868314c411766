"""TensorBoard's own reader finds in the event files what the trainer logged."""

import pytest
from trainer_helpers import make_trainer

pytest.importorskip("tensorboard")


@pytest.mark.slow
def test_event_files_hold_the_figures_that_were_logged(tmp_path, tokenizer, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    rows = [tokenizer("the cat sat on the mat while the dog was sleeping") for _ in range(16)]
    trainer = make_trainer(tmp_path / "run", tokenizer, rows, eval_rows=rows[:8], report_to="tensorboard")
    trainer.train()
    trainer.evaluate()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    written = events.Tags()["scalars"]
    ours = {
        "train/loss",
        "train/generator_loss",
        "train/discriminator_loss",
        "train/generator_accuracy",
        "train/tokens_per_second",
        "eval/loss",
        "eval/auc",
    }
    assert ours <= set(written), sorted(written)
    logged = [entry for entry in trainer.state.log_history if "generator_loss" in entry]
    found = events.Scalars("train/generator_loss")
    assert [event.step for event in found] == [entry["step"] for entry in logged] == [1, 2, 3, 4]
    assert [event.value for event in found] == pytest.approx([entry["generator_loss"] for entry in logged], rel=1e-6)
