"""A run that goes wrong says so, once, and a healthy one says nothing."""

import math

import pytest

from electra_plus.training.health import PATIENCE, TrainingHealth


def said(logs, first_step: int = 500) -> list[str]:
    health = TrainingHealth()
    return [text for step, log in enumerate(logs, first_step) for text in health.check(log, step, 1000)]


def detector(auc: float, recall: float) -> dict[str, float]:
    return {"loss": 1.0, "detection_auc": auc, "detection_recall": recall}


def test_a_detector_that_finds_nothing_is_reported_once():
    warnings = said([detector(0.505, 0.0)] * 3 * PATIENCE)
    assert len(warnings) == 1 and "calls every token original" in warnings[0] and "generator_config" in warnings[0]


def test_early_it_is_as_it_should_be():
    assert said([detector(0.505, 0.0)] * 3 * PATIENCE, first_step=10) == []


def test_a_detector_that_forgets_is_reported_even_early():
    assert len(said([detector(0.7, 0.1), *[detector(0.51, 0.1)] * PATIENCE], first_step=10)) == 1


def test_a_detector_that_ranks_well_is_healthy_even_if_it_never_says_replaced():
    assert said([detector(0.6, 0.0)] * 3 * PATIENCE) == []


@pytest.mark.parametrize("name", ["generator_loss", "discriminator_loss", "corrective_lm_loss"])
def test_a_rising_loss_is_reported(name):
    losses = [7.0, 5.0, 4.0, *[6.0] * PATIENCE]
    warnings = said([{"loss": value, name: value} for value in losses])
    assert len(warnings) == 1 and f"rising ({name} 6.000 after 4.000)" in warnings[0]


def test_one_bad_log_is_chance():
    losses = [4.0, 6.0, 4.0, 6.0, 4.0] * PATIENCE
    assert said([{"loss": value, "generator_loss": value} for value in losses]) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(loss):
    with pytest.raises(FloatingPointError, match="at step 7. Checkpoints written before are intact"):
        TrainingHealth().check({"loss": loss}, 7, 10)
