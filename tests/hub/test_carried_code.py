"""A saved pipeline works in a process that cannot import this package."""

import json
import subprocess
import sys

import pytest
import transformers
from pipeline_helpers import LONG, SHORT, WITHOUT_PACKAGE, assert_same, build, make_pipe, marian, stock, translator

from electra_plus.hub.carried_code import OLD_NAMES, carry_code, files_of, with_flat_imports
from electra_plus.models.modeling_electra_plus_encoder_decoder import ElectraPlusEncoderDecoderModel
from electra_plus.registration import HEADS, auto_map_for

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
    "translator": ("machine-translation", translator, {"inputs": [SHORT, LONG], "max_new_tokens": 5}),
    "stock detector": ("replaced-token-detection", lambda: stock("PreTraining"), {"inputs": SHORT}),
}

NOT_OURS = ("stock", "marian", "stock detector")  # of which class the folder is does not say what it is for
ELSEWHERE = (
    WITHOUT_PACKAGE
    + """
import transformers

asked, joint = json.loads(sys.argv[1])
answers = {"classes": {
    name: type(getattr(transformers, name).from_pretrained(joint, trust_remote_code=True)).__name__
    for name in transformers.AutoConfig.from_pretrained(joint, trust_remote_code=True).auto_map
}}
# of a local folder's code transformers makes a copy for each file it starts from
generator = transformers.AutoModelForMaskedLM.from_pretrained(joint, trust_remote_code=True, output_loading_info=True)
answers["new in the generator"] = sorted(generator[1]["missing_keys"])
for folder, (task, arguments) in asked.items():
    pipe = transformers.pipeline(task, model=folder, trust_remote_code=True, device="cpu")
    answers[folder] = pipe(**arguments)
assert not any(name.split(".")[0] == "electra_plus" for name in sys.modules)
print(json.dumps(answers))
"""
)


def test_saved_pipelines_answer_the_same_without_the_package(tmp_path, monkeypatch):
    expected, asked = {}, {}
    for name, (task, make, arguments) in CASES.items():
        pipe = make_pipe(task, make())
        expected[str(tmp_path / name)] = pipe(**arguments)
        pipe.save_pretrained(tmp_path / name)
        carry_code(tmp_path / name, task if name in NOT_OURS else None)
        assert getattr(pipe.model.config, "custom_pipelines", None) is None, "the model goes on as it was"
        asked[str(tmp_path / name)] = (OLD_NAMES.get(task, task), arguments)
    # the task is named by the folder
    (tmp_path / "no task").symlink_to(tmp_path / "answers")
    asked[str(tmp_path / "no task")] = None, CASES["answers"][2]
    expected[str(tmp_path / "no task")] = expected[str(tmp_path / "answers")]
    expected["classes"] = {
        name: place.split(".")[1] for name, place in auto_map_for("ElectraPlusForPreTraining").items()
    }
    expected["new in the generator"] = []
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps([asked, str(tmp_path / "joint")])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert_same(json.loads(run.stdout.splitlines()[-1]), expected)


def test_a_saved_pipeline_opens_with_the_package_without_trust(tmp_path):
    pipe = make_pipe("question-answering", build("QuestionAnswering"))
    pipe.save_pretrained(tmp_path)
    carry_code(tmp_path)
    one = {"question": "Who sings?", "context": LONG}
    assert_same(make_pipe("question-answering", str(tmp_path), pipe.tokenizer)(one), pipe(one))
    assert_same(make_pipe(None, str(tmp_path), pipe.tokenizer)(one), pipe(one))  # the class says what it is for
    assert_same(transformers.pipeline("extractive-qa", str(tmp_path), device="cpu")(one), pipe(one))


def test_what_is_saved_again_names_no_code_that_did_not_come_along(tmp_path):
    build("PreTraining").save_pretrained(tmp_path / "first")
    carry_code(tmp_path / "first")
    again = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "first")
    again.save_pretrained(tmp_path / "second")
    assert not {"auto_map", "custom_pipelines"} & json.loads((tmp_path / "second" / "config.json").read_text()).keys()


def test_what_travels_imports_neighbours_only():
    for source in files_of("electra_plus.pipelines.translation").values():
        assert "electra_plus." not in "\n".join(line for line in source.splitlines() if "import" in line)
    nested = "def f():\n    from electra_plus.models.layers_electra_plus import (\n        make_norm,\n    )\n"
    assert with_flat_imports(nested).startswith("def f():\n    from .layers_electra_plus import (")


def test_every_auto_class_finds_its_class_beside_the_weights(tmp_path):
    for head in HEADS:
        place = auto_map_for(head.class_name)[head.auto_class or "AutoModelForPreTraining"]
        assert place == f"{head.module}.{head.class_name}"
    build("TokenClassification").save_pretrained(tmp_path)
    carry_code(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["auto_map"] == auto_map_for("ElectraPlusForTokenClassification") and "custom_pipelines" not in config
    assert {f"{place.split('.')[0]}.py" for place in config["auto_map"].values()} <= {
        file.name for file in tmp_path.iterdir()
    }


def test_folder_of_a_translator_opens_with_the_package_without_trust(tmp_path):
    pipe = make_pipe("translation", translator())
    pipe.save_pretrained(tmp_path)
    carry_code(tmp_path)
    again = make_pipe("translation", str(tmp_path), pipe.tokenizer)
    assert type(again.model).__name__ == "EncoderDecoderModel"  # the package's way, not that of the folder
    assert again(SHORT, max_new_tokens=5) == pipe(SHORT, max_new_tokens=5)
    from_folder = ElectraPlusEncoderDecoderModel.from_pretrained(tmp_path)
    assert make_pipe("translation", from_folder.eval())(SHORT, max_new_tokens=5) == pipe(SHORT, max_new_tokens=5)


@pytest.mark.parametrize(
    ("what", "task", "message"),
    [
        ("stock", None, "holds a stock model \\('electra'\\), which needs no code"),
        ("ours", "summarization", "`task` must be one of .* or None, got 'summarization'"),
    ],
)
def test_folders_that_need_no_code_and_unknown_tasks_are_refused(what, task, message, tmp_path):
    (stock if what == "stock" else build)("TokenClassification").save_pretrained(tmp_path)
    before = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(ValueError, match=message):
        carry_code(tmp_path, task)
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    with pytest.raises(FileNotFoundError, match="must be a folder with a config.json"):
        carry_code(tmp_path / "nowhere")
