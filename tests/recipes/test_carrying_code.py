"""`electra-plus finetune --carry-code`: folders that transformers opens alone, and others that name no code they do not hold."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import transformers
from model_helpers import joint_config
from pipeline_helpers import WITHOUT_PACKAGE, assert_same

import electra_plus
from electra_plus.cli.main import build_parser
from electra_plus.cli.tasks import _finetune
from electra_plus.hub.carried_code import OLD_NAMES, carry_code
from electra_plus.recipes.finetuning import FineTuningSettings, finetune
from electra_plus.recipes.tasks import TASKS

TEXT = "I really love this book."
REVIEWS = [
    {"text": f"{text} {index}", "label": label} for index in range(6) for text, label in ((TEXT, 1), ("terrible", 0))
]
# Of each task: rows, and what is asked of the folder; the pipeline by the name that transformers is given.
KINDS = {
    "text-classification": (REVIEWS, "text-classification", {"inputs": TEXT}),
    "long text": (REVIEWS, "long-text-classification", {"inputs": f"{TEXT} " * 30}),
    "multi-label-classification": (
        [{"text": TEXT, "labels": ["x", "y"]}, {"text": "terrible", "labels": []}] * 6,
        "text-classification", {"inputs": TEXT, "top_k": 2},
    ),
    "regression": (
        [{"text": TEXT, "label": 2.5}, {"text": "terrible", "label": 0.5}] * 6,
        "text-classification", {"inputs": TEXT, "function_to_apply": "none"},
    ),
    "token-classification": (
        [{"tokens": ["the", "cat", "sat"], "tags": ["O", "B-animal", "O"]}] * 12, "token-classification", {"inputs": "the cat"},
    ),
    "question-answering": (
        [{"context": "the cat sat", "question": "who?", "answers": {"text": ["cat"], "answer_start": [4]}}] * 12,
        "question-answering", {"question": "who?", "context": "the dog sat on the mat"},
    ),
    "multiple-choice": ([{"question": "good?", "choices": ["love", "terrible"], "label": 0}] * 12, None, {}),
    "translation": ([{"en": "the cat", "zh": "我很喜欢"}] * 12, "translation", {"inputs": ["the cat"], "max_new_tokens": 4}),
    "text-generation": (
        [{"text": "the cat sat on the mat"}] * 12, "text-generation", {"text_inputs": "the cat", "max_new_tokens": 4, "do_sample": False},
    ),
}  # fmt: skip
ELSEWHERE = (
    WITHOUT_PACKAGE
    + """
import torch, transformers

folder, task, arguments = json.loads(sys.argv[1])
if task is None:
    model = transformers.AutoModelForMultipleChoice.from_pretrained(folder, trust_remote_code=True)
    found = model(torch.tensor([[[2, 7, 3], [2, 9, 3]]])).logits.tolist()
else:
    found = transformers.pipeline(task, folder, trust_remote_code=True, device="cpu")(**arguments)
assert not any(name.split(".")[0] == "electra_plus" for name in sys.modules)
print(json.dumps(found, default=float))
"""
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer) -> str:
    folder = tmp_path_factory.mktemp("pretrained") / "joint"
    torch.manual_seed(0)
    electra_plus.ElectraPlusForPreTraining(joint_config("modern")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def settings(checkpoint, rows, folder, **overrides) -> FineTuningSettings:
    train_file = folder / "train.jsonl"
    train_file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    training = {
        "num_train_epochs": 1,
        "disable_tqdm": True,
        "use_cpu": True,
        "eval_strategy": "no",
        "save_strategy": "no",
    }
    fields = {"model": checkpoint, "train_file": str(train_file), "output_dir": str(folder / "out"), "max_length": 32}
    return FineTuningSettings(**fields | {"training": training} | overrides)


def config_of(folder) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_the_folder_gets_code_on_demand_also_when_the_run_was_finished_before(checkpoint, tmp_path):
    given = settings(checkpoint, REVIEWS, tmp_path)
    finetune(given)
    out = tmp_path / "out"
    assert not {"auto_map", "custom_pipelines"} & config_of(out).keys() and not list(out.glob("*.py"))
    weights = (out / "model.safetensors").stat()
    finetune(replace(given, carry_code=True))
    config = config_of(out)
    assert config["auto_map"]["AutoModelForSequenceClassification"].endswith(".ElectraPlusForSequenceClassification")
    places = [*config["auto_map"].values(), config["custom_pipelines"]["long-text-classification"]["impl"]]
    assert all((out / f"{place.split('.')[0]}.py").is_file() for place in places)
    assert 'pipeline("text-classification", model="out", trust_remote_code=True)' in (out / "README.md").read_text()
    assert (out / "model.safetensors").stat() == weights, "nothing was trained again"
    # with the package nothing has to be trusted
    assert transformers.pipeline("text-classification", str(out))(TEXT)[0]["label"] in ("0", "1")


def test_code_of_the_checkpoint_is_not_named_by_what_is_made_of_it(checkpoint, tmp_path, tokenizer):
    start = tmp_path / "start"
    electra_plus.ElectraPlusModel.from_pretrained(checkpoint).save_pretrained(start)
    tokenizer.save_pretrained(start)
    carry_code(start, "extractive-qa")
    rows = KINDS["translation"][0]
    for name, some in (("classes", REVIEWS), ("translator", rows)):
        (tmp_path / name).mkdir()
        finetune(settings(str(start), some, tmp_path / name))
        assert not {"auto_map", "custom_pipelines"} & set(str(config_of(tmp_path / name / "out")).split("'"))


def test_the_flag_and_the_file_say_it(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(
        "electra_plus.recipes.finetuning.finetune", lambda given, restart: said.append(given.carry_code) or {}
    )
    monkeypatch.setattr("electra_plus.recipes.finetuning.figures_table", lambda figures: "")
    (tmp_path / "own.yaml").write_text("carry_code: true\n")
    command = ["finetune", "--model", "m", "--train-file", "t", "--output", "o"]
    for more in ([], ["--carry-code"], ["--config", str(tmp_path / "own.yaml")]):
        with pytest.raises(KeyError):  # the figures are none
            _finetune(build_parser().parse_args([*command, *more]))
    assert said == [False, True, True]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_answers_the_same_without_the_package(kind, checkpoint, tmp_path, monkeypatch):
    rows, pipeline, arguments = KINDS[kind]
    task = kind if kind in TASKS else "text-classification"
    finetune(settings(checkpoint, rows, tmp_path, task=task, carry_code=True))
    out = str(tmp_path / "out")
    if pipeline is None:
        model = electra_plus.ElectraPlusForMultipleChoice.from_pretrained(out)
        expected = model(torch.tensor([[[2, 7, 3], [2, 9, 3]]])).logits.tolist()
    else:
        own = pipeline in ("long-text-classification", *OLD_NAMES.values())
        open_pipeline = electra_plus.pipeline if own else transformers.pipeline
        expected = open_pipeline(pipeline, out, device="cpu")(**arguments)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps([out, pipeline, arguments])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert_same(json.loads(run.stdout.splitlines()[-1]), json.loads(json.dumps(expected, default=float)))
