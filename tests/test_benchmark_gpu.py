"""The benchmark for a GPU runs at toy size on a processor: packing, steps, and a run in two calls."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from electra_plus import ElectraPlusForPreTraining
from electra_plus.data.corpus import read_documents
from electra_plus.data.prepared import Prepared, load_prepared
from electra_plus.recipes.preparation import PreparationSettings, prepare
from electra_plus.samples import sample_path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
# the machine that it is for has neither of these libraries
WITHOUT = "import sys; sys.modules['datasets'] = sys.modules['evaluate'] = None; "


@pytest.fixture
def gpu_pretraining(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_pretraining

    return gpu_pretraining


@pytest.mark.parametrize("rule", ["documents", "sentences"])
def test_packed_rows_are_the_first_prepared_ones(rule, gpu_pretraining, tmp_path):
    prepared = pack(tmp_path, gpu_pretraining.main, rule)
    for part, rows in (("train", prepared.train), ("held_out", prepared.held_out)):
        packed = gpu_pretraining.PackedRows(tmp_path / "packed", part)
        assert 0 < len(packed) <= len(rows)
        for index in range(len(packed)):
            assert packed[index] == {name: list(values) for name, values in rows[index].items()}
    assert (tmp_path / "packed" / "rows.safetensors").stat().st_size <= 0.03 * 2**20


def pack(folder: Path, main, rule: str) -> Prepared:
    """Prepare some reviews and pack what fits into 0.03 MiB of them, in `packed`."""
    reviews = list(read_documents([sample_path("reviews.txt.gz")]))[:150]
    (folder / "reviews.txt").write_text("\n\n".join("\n".join(review) for review in reviews), encoding="utf-8")
    how = {"vocab_size": 300, "row_length": 32, "rule": rule, "held_out_fraction": 0.2}
    prepare(PreparationSettings([str(folder / "reviews.txt")], str(folder / "prepared"), **how))
    main(["pack", "--max-mib", "0.03", "--dataset", str(folder / "prepared"), "--output", str(folder / "packed")])
    return load_prepared(folder / "prepared")


def test_steps_are_measured_and_a_run_in_two_calls_ends_as_one(gpu_pretraining, tmp_path):
    pack(tmp_path, gpu_pretraining.main, "documents")
    common = ["--device", "cpu", "--toy", "--no-compile"]
    calls = [["speed", *common, "--rounds", "1", "--results", str(tmp_path)]]
    # out of time at once: the first call takes one step and saves it
    for name, minutes in (("parts", "0"), ("parts", "9"), ("whole", "9")):
        where = [
            "--packed",
            str(tmp_path / "packed"),
            "--output",
            str(tmp_path / name),
            "--results",
            str(tmp_path / name),
        ]
        calls.append(["train", *common, *where, "--steps", "4", "--minutes", minutes, "--workers", "0"])
    code = f"{WITHOUT}sys.path.insert(0, {str(BENCHMARKS)!r}); import gpu_pretraining as script; [script.main(c) for c in {calls}]"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]

    models = json.loads((tmp_path / "gpu_speed.json").read_text())["models"]
    assert models["classic small"]["arms"].keys() == {"sdpa, plain", "usual loop"}
    assert all(arm["tokens_per_second"] > 0 for model in models.values() for arm in model["arms"].values())

    assert "1 of 4 steps; the same command goes on" in run.stdout
    parts, whole = (json.loads((tmp_path / name / "gpu_pretraining.json").read_text()) for name in ("parts", "whole"))
    assert parts["steps"] == whole["steps"] == 4
    assert [entry["loss"] for entry in parts["log"]] == [entry["loss"] for entry in whole["log"]]
    theirs = ElectraPlusForPreTraining.from_pretrained(tmp_path / "whole" / "model").state_dict()
    for name, weight in ElectraPlusForPreTraining.from_pretrained(tmp_path / "parts" / "model").state_dict().items():
        assert torch.equal(weight, theirs[name]), name
