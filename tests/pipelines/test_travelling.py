"""A saved pipeline works in a process that cannot import this package."""

import json
import subprocess
import sys

import pytest
from pipeline_helpers import LONG, SHORT, assert_same, build, make_pipe, marian, stock, translator

from electra_plus.pipelines.travelling import files_of, save_with_code, with_flat_imports

# What each folder holds, and what is asked of it.
CASES = {
    "detector": ("replaced-token-detection", lambda: build("ReplacedTokenDetection"), {"inputs": [SHORT, LONG]}),
    "joint": ("replaced-token-detection", lambda: build("PreTraining"), {"inputs": SHORT}),
    "answers": ("extractive-qa", lambda: build("QuestionAnswering"), {"question": "Who sings?", "context": LONG}),
    "reader": (
        "long-text-classification",
        lambda: build("LongSequenceClassification", chunk_length=24),
        {"inputs": LONG, "return_evidence": True},
    ),
    "stock": ("long-text-classification", lambda: stock("SequenceClassification"), {"inputs": LONG}),
    "marian": ("machine-translation", marian, {"inputs": [SHORT, LONG], "max_new_tokens": 5}),
    "stock detector": ("replaced-token-detection", lambda: stock("PreTraining"), {"inputs": SHORT}),
}

ELSEWHERE = """
import json, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "electra_plus":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
import transformers

answers = {}
for folder, (task, arguments) in json.loads(sys.argv[1]).items():
    pipe = transformers.pipeline(task, folder, trust_remote_code=True, device="cpu")
    answers[folder] = pipe(**arguments)
assert not any(name.split(".")[0] == "electra_plus" for name in sys.modules)
print(json.dumps(answers))
"""


def test_saved_pipelines_answer_the_same_without_the_package(tmp_path, monkeypatch):
    expected, asked = {}, {}
    for name, (task, make, arguments) in CASES.items():
        pipe = make_pipe(task, make())
        expected[str(tmp_path / name)] = pipe(**arguments)
        save_with_code(pipe, tmp_path / name)
        assert getattr(pipe.model.config, "custom_pipelines", None) is None, "the model goes on as it was"
        asked[str(tmp_path / name)] = (task, arguments)
    old = "question-answering", CASES["answers"][2]
    (tmp_path / "by its old name").symlink_to(tmp_path / "answers")
    asked[str(tmp_path / "by its old name")] = old
    expected[str(tmp_path / "by its old name")] = expected[str(tmp_path / "answers")]
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(asked)], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert_same(json.loads(run.stdout.splitlines()[-1]), expected)


def test_a_saved_pipeline_opens_with_the_package_without_trust(tmp_path):
    pipe = make_pipe("question-answering", build("QuestionAnswering"))
    save_with_code(pipe, tmp_path)
    one = {"question": "Who sings?", "context": LONG}
    assert_same(make_pipe("question-answering", str(tmp_path), pipe.tokenizer)(one), pipe(one))


def test_what_travels_imports_neighbours_only():
    for source in files_of("electra_plus.pipelines.translation").values():
        assert "electra_plus." not in "\n".join(line for line in source.splitlines() if "import" in line)
    nested = "def f():\n    from electra_plus.models.layers_electra_plus import (\n        make_norm,\n    )\n"
    assert with_flat_imports(nested).startswith("def f():\n    from .layers_electra_plus import (")


def test_stock_tasks_need_no_code(tmp_path):
    pipe = make_pipe("text-classification", build("SequenceClassification"))
    with pytest.raises(ValueError, match="For others `save_pretrained` is enough"):
        save_with_code(pipe, tmp_path)


def test_models_of_this_package_inside_a_stock_class_are_refused(tmp_path):
    with pytest.raises(ValueError, match="EncoderDecoderModel around models of this package"):
        save_with_code(make_pipe("translation", translator()), tmp_path)
