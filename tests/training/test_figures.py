"""Figures of a pretraining run that only some models have."""

import pytest
import torch
from model_helpers import joint_config, masked_batch

from electra_plus import ElectraPlusForPreTraining
from electra_plus.training.figures import PretrainingFigures


def test_figures_hold_the_mean_of_each_further_objective_and_no_other():
    figures = PretrainingFigures()
    model = ElectraPlusForPreTraining(joint_config(objective_weights={"corrective_lm": 1.0})).train()
    figures.attach(model)
    losses = [model(**masked_batch()).objective_losses["corrective_lm"].item() for _ in range(3)]
    taken = figures.take()
    assert taken["corrective_lm_loss"] == pytest.approx(sum(losses) / 3, abs=1e-4)  # rounded to four digits
    assert "multi_word_choice_loss" not in taken
    assert "corrective_lm_loss" not in figures.take()


def test_a_compiled_model_is_not_compiled_anew_because_its_figures_grow():
    torch.compiler.reset()
    figures, graphs = PretrainingFigures(), []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    model = ElectraPlusForPreTraining(joint_config()).train()
    figures.attach(model)
    compiled = torch.compile(model, backend=count)
    batch = {**masked_batch(), "num_masked_slots": 12}
    compiled(**batch)
    once = len(graphs)
    for _ in range(3):
        compiled(**batch)
    assert len(graphs) == once
    assert figures.take()["generator_loss"] > 0
