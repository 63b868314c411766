"""Operations of a training step, counted by hand."""

import pytest
from model_helpers import joint_config

from electra_plus.training.flops import encoder_flops, training_flops


@pytest.mark.parametrize(
    ("weights", "further"),
    [
        (
            {"corrective_lm": 1.0},
            3 * 2 * 10 * 32 * (32 + 99),
        ),  # forward and backward, 10 slots, embedding 32, vocabulary 99
        ({"multi_word_choice": 1.0, "corrective_lm": 0.0}, 0),
        ({"sequence_contrast": 0.5}, "encoder"),
    ],
)
def test_further_objectives_count_what_they_cost_the_discriminator(weights, further):
    plain, config = joint_config(), joint_config(objective_weights=weights)
    if further == "encoder":
        further = 3 * encoder_flops(config, 64, 16)
    for networks in ("both", "discriminator", "generator"):
        more = training_flops(config, 64, 16, 10, networks) - training_flops(plain, 64, 16, 10, networks)
        assert more == pytest.approx(0 if networks == "generator" else further)
