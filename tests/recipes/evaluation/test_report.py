"""Results are whole files or none, and nothing else is overwritten."""

import json

import pytest

from electra_plus.recipes.evaluation.report import FIELDS, read_result, table, write_json


def test_result_is_written_whole_and_read_back(tmp_path):
    file = tmp_path / "new" / "figures.json"
    assert read_result(file, "rtd") is None
    result = {**dict.fromkeys(FIELDS), "suite": "rtd", "figures": {"auc": 0.5}}
    write_json(result, file)
    assert read_result(file, "rtd") == result and [path.name for path in file.parent.iterdir()] == ["figures.json"]


def test_failed_write_leaves_the_old_result(tmp_path):
    file = tmp_path / "figures.json"
    write_json({"suite": "rtd"}, file)
    with pytest.raises(TypeError):
        write_json({"suite": object()}, file)
    assert json.loads(file.read_text()) == {"suite": "rtd"}


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (json.dumps({**dict.fromkeys(FIELDS), "suite": "blimp"}), "figures of the suite blimp"),
        ('{"suite": "rtd"}', "no figures"),
        ("precious", "no figures"),
        ("[1]", "no figures"),
        ("{}", "no figures"),
    ],
)
def test_other_files_are_not_overwritten(content, holds, tmp_path):
    file = tmp_path / "figures.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=f"exists and holds {holds}"):
        read_result(file, "rtd")
    with pytest.raises(ValueError, match="must be a file, got the folder"):
        read_result(tmp_path, "rtd")


def test_table_is_as_wide_as_its_cells():
    lines = table(("a", "score"), [("long name", "1"), ("b", "0.123456")]).splitlines()
    assert lines == [
        "a             score",
        "---------  --------",
        "long name         1",
        "b          0.123456",
    ]
