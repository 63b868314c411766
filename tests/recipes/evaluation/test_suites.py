"""One function runs every suite and keeps its result; settings of other suites are refused."""

import json

import pytest

from electra_plus.cli.main import build_parser
from electra_plus.recipes.evaluation.report import FIELDS
from electra_plus.recipes.evaluation.suites import SUITES, choose_settings, evaluate


def test_result_is_saved_with_all_it_depends_on(joint_folder, tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat while the dog was sleeping\n" * 9)
    output = tmp_path / "figures.json"
    arguments = (joint_folder, "rtd", str(tmp_path / "text.txt"), str(output))
    result = evaluate(*arguments, row_length=16, seed=None)
    assert json.loads(output.read_text()) == result
    assert tuple(result) == FIELDS
    assert result["model"] == joint_folder and len(result["weights"]) == 16
    assert result["settings"]["row_length"] == 16 and result["settings"]["seed"] == 0
    assert {"electra_plus", "transformers", "torch", "python"} == set(result["versions"])
    assert evaluate(*arguments, row_length=16)["figures"]["auc"] == result["figures"]["auc"]  # written anew


def test_settings_of_another_suite_are_refused():
    with pytest.raises(
        ValueError, match=r"`--generator` belongs to the suite rtd, not to blimp, which has \['--limit'"
    ):
        choose_settings("blimp", {"generator": "x"})
    with pytest.raises(ValueError, match="`--batch-size` belongs to the suite rtd and glue-small"):
        choose_settings("blimp", {"batch_size": 3})
    with pytest.raises(ValueError, match="`--speed` belongs to no suite"):
        choose_settings("blimp", {"speed": 3})
    with pytest.raises(ValueError, match="`--limit` must be above 0, got -1"):
        choose_settings("blimp", {"limit": -1})
    with pytest.raises(ValueError, match=r"`--mask-rate` must be in \(0, 1\), got 2"):
        choose_settings("rtd", {"mask_rate": 2.0})
    with pytest.raises(ValueError, match=r"`--suite` must be one of \['blimp', 'rtd', 'glue-small'\], got 'glue'"):
        evaluate("x", "glue", "x")


def test_command_line_knows_every_suite_and_setting():
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    actions = {action.dest: action for action in subparsers.choices["evaluate"]._actions}
    assert tuple(actions["suite"].choices) == tuple(SUITES)
    settings = {name for suite in SUITES.values() for name in suite.settings.__dataclass_fields__}
    assert settings <= set(actions)
    # no defaults of its own: those are the settings'
    assert all(actions[name].default is None for name in settings)
