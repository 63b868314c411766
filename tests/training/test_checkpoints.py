"""Checkpoints: whole or not there, and checked before use."""

import json
import shutil

import pytest

from electra_plus.training.checkpoints import (
    MANIFEST,
    checkpoint_folders,
    last_good_checkpoint,
    publish,
    what_is_wrong,
    write_manifest,
)


@pytest.fixture
def run(tmp_path):
    """Three checkpoints, of 5, 10 and 100 steps."""
    for step in (5, 10, 100):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "inner").mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(range(step)))
        (folder / "inner" / "more").write_text("more")
        write_manifest(folder)
    return tmp_path


def test_the_latest_whole_checkpoint_is_taken(run):
    assert [folder.name for folder in checkpoint_folders(run)] == ["checkpoint-100", "checkpoint-10", "checkpoint-5"]
    assert last_good_checkpoint(run).name == "checkpoint-100"
    assert last_good_checkpoint(run / "nowhere") is None


def cut(folder):
    (folder / "weights").write_bytes((folder / "weights").read_bytes()[:-1])


def flip(folder):
    data = bytearray((folder / "weights").read_bytes())
    data[50] ^= 1
    (folder / "weights").write_bytes(data)


def spoil_manifest(folder):
    (folder / MANIFEST).write_text('{"files": {"weights": 1}}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "weights has 99 bytes instead of 100"),
        (flip, "weights has changed"),
        (lambda folder: (folder / "inner" / "more").unlink(), "inner/more is missing"),
        (lambda folder: (folder / MANIFEST).unlink(), "has no manifest.json"),
        (spoil_manifest, "cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text('{"files": '), "cannot be read"),
    ],
)
def test_damage_is_named_and_the_one_before_is_taken(damage, message, run):
    damage(run / "checkpoint-100")
    assert message in what_is_wrong(run / "checkpoint-100")
    assert last_good_checkpoint(run).name == "checkpoint-10"


def test_a_checkpoint_being_written_is_no_checkpoint(run):
    (run / ".unfinished" / "checkpoint-200").mkdir(parents=True)
    assert last_good_checkpoint(run).name == "checkpoint-100"


def test_publishing_replaces_a_damaged_one(run):
    cut(run / "checkpoint-100")
    aside = run / ".unfinished" / "checkpoint-100"
    shutil.copytree(run / "checkpoint-10", aside)
    publish(aside, run / "checkpoint-100")
    assert what_is_wrong(run / "checkpoint-100") is None
    assert not list((run / ".unfinished").iterdir())


def test_manifest_lists_every_other_file(run):
    files = json.loads((run / "checkpoint-5" / MANIFEST).read_text())["files"]
    assert sorted(files) == ["inner/more", "weights"]
    assert files["weights"]["bytes"] == 5
