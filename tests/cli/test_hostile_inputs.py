"""Good files of every task, damaged in many ways: each is read, or refused in one line that names file, row and cure."""

import copy
import gzip
import json
import re
import shutil
from functools import cache
from pathlib import Path

import pyarrow
import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_helpers import joint_config, small_config
from pyarrow import parquet

import electra_plus
from electra_plus.cli.main import main
from electra_plus.recipes import finetuning, prediction
from electra_plus.recipes.tasks import TASKS, task_class

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # fmt: skip
# Of each task: rows, fields that every command needs, and the field that prediction does without.
GOOD = {
    "text-classification": ([{"text": f"good {i}", "label": "xy"[i % 2]} for i in range(6)], ["text"], "label"),
    "multi-label-classification": ([{"text": f"good {i}", "labels": ["x", "y"][: i % 3]} for i in range(6)], ["text"], "labels"),
    "regression": ([{"text": f"good {i}", "label": i / 2} for i in range(6)], ["text"], "label"),
    "token-classification": ([{"tokens": ["a", "cat"], "tags": ["O", "B-x"]} for _ in range(6)], ["tokens"], "tags"),
    "question-answering": (
        [{"context": "a cat", "question": "who?", "answers": {"text": ["cat"], "answer_start": [2]}} for _ in range(6)],
        ["context", "question"], "answers",
    ),
    "multiple-choice": ([{"question": "who?", "choices": ["a", "cat"], "label": i % 2} for i in range(6)], ["question", "choices"], "label"),
    "translation": ([{"source": f"good {i}", "target": "我"} for i in range(6)], ["source"], "target"),
    "text-generation": ([{"text": f"good {i}"} for i in range(6)], ["text"], None),
}  # fmt: skip
# What no task takes for a target, and what some do not.
NO_TARGETS = (None, {"a": {"b": 1}}, float("nan"), [[1]], [{}], [None])
ODD_TARGETS = (
    float("inf"),
    -float("inf"),
    10**400,
    -1,
    7,
    2.5,
    True,
    "",
    " ",
    "z",
    [],
    {},
    ["x", "x"],
    "9" * 5000,
    1e300,
)
NO_TEXTS = (None, 3, float("nan"), {"a": 1}, [1, None], 10**400, True)
# What our errors begin a cure with.
SAYS_WHAT_TO_DO = re.compile(
    r"\b(Add|Convert|Copy|Correct|Give|Make|Name|Quote|Rename|Repair|Remove|[Ll]eave|It stands at)\b|(--columns|--convert-tags) "
)


class Reached(ValueError):
    """All that comes before training or predicting was done."""


def stop(*args, **kwargs):
    raise Reached("read")


@cache
def labels_of(task: str) -> dict:
    """What the configuration of a fine-tuned model says of its labels."""
    made = task_class(task)()
    names = {
        "text-classification": ["x", "y"],
        "multi-label-classification": ["x", "y"],
        "token-classification": ["B-x", "O"],
    }
    if task not in names:
        return {"num_labels": 1, "problem_type": "regression"} if task == "regression" else {}
    kind = {"problem_type": made.problem_type} if hasattr(made, "problem_type") else {}
    return {
        "id2label": dict(enumerate(names[task])),
        "label2id": {name: i for i, name in enumerate(names[task])},
        **kind,
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory, tokenizer):
    """A folder to start from, and one that stands for a fine-tuned model of each task."""
    folder = tmp_path_factory.mktemp("models")
    electra_plus.ElectraPlusForPreTraining(joint_config("modern")).save_pretrained(folder / "start")
    for task in TASKS:
        if task == "translation":
            decoder = electra_plus.ElectraPlusForCausalLM(small_config(is_decoder=True, add_cross_attention=True))
            model = transformers.EncoderDecoderModel(
                encoder=electra_plus.ElectraPlusModel(small_config()), decoder=decoder
            )
        else:
            fields = {"is_decoder": True} if task == "text-generation" else labels_of(task)
            model = getattr(electra_plus, TASKS[task].model_class)(small_config(**fields))
        model.save_pretrained(folder / task)
    for one in folder.iterdir():
        tokenizer.save_pretrained(one)
    return folder


@pytest.fixture
def call(models, monkeypatch, capsys, tmp_path):
    """Runs a command on a file up to where the model would be used; returns the error, `None` if there is none."""
    from electra_plus.recipes import finetuning_run

    opened = {}
    load = prediction.load_predictor
    monkeypatch.setattr(finetuning_run, "run_seed", stop)
    monkeypatch.setattr(prediction, "predictions_of", stop)
    monkeypatch.setattr(prediction, "judged", stop)
    monkeypatch.setattr(finetuning, "fingerprint", lambda model: "the same")
    monkeypatch.setattr(
        prediction, "load_predictor", lambda model, *rest: copy.copy(opened.get(model) or opened.setdefault(model, load(model, *rest)))
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def run(command: str, task: str, file: str, more: list[str]) -> str | None:
        arguments = {
            "finetune": ["--model", str(models / "start"), "--train-file", file, "--task", task, "--output", "out", "--limit", "6"],
            "evaluate": ["--model", str(models / task), "--data", file, "--output", "out", "--limit", "6"],
            "predict": ["--model", str(models / task), "--input", file, "--output", "out", "--limit", "6"],
        }[command]  # fmt: skip
        capsys.readouterr()
        assert main([command, *arguments, *more]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"electra-plus {command}: ")]
        assert len(lines) == 1
        message = lines[0].removeprefix(f"electra-plus {command}: ")
        written = [path.name for path in Path().glob("out*/*")]
        assert written == ([finetuning.SETTINGS_FILE] if (command, message) == ("finetune", "read") else [])
        assert Path("out").exists() == bool(written), "nothing is left half-written"
        shutil.rmtree("out", ignore_errors=True)
        return None if message == "read" else message

    return run


def write(name: str, rows: list[dict]) -> str:
    """Write rows as the suffix says; return the name."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = f"[{', '.join(lines)}]" if name.endswith(".json") else "".join(line + "\n" for line in lines)
    Path(name).write_text(text, encoding="utf-8")
    return name


def check(message: str | None, file: str, place: str | None) -> None:
    """The error names the file and, if there is one, the row, and says what to do."""
    assert message is not None, "this must be refused"
    assert file in message, message
    assert place is None or re.search(rf"\b{place}\b", message), f"{place} is missing: {message}"
    assert SAYS_WHAT_TO_DO.search(message), f"no cure: {message}"
    assert len(message) < 1000, message[:2000]


commands = st.sampled_from(["finetune", "evaluate", "predict"])
indices = st.integers(0, 5)
every_task = pytest.mark.parametrize("task", GOOD)


@every_task
@pytest.mark.parametrize("command", ["finetune", "evaluate", "predict"])
def test_good_files_are_read(command, task, call):
    for suffix in (".jsonl", ".json"):
        assert call(command, task, write(f"rows{suffix}", GOOD[task][0]), []) is None
    Path("rows.jsonl").write_bytes(b"\xef\xbb\xbf" + Path("rows.jsonl").read_bytes())  # a byte order mark
    assert call(command, task, "rows.jsonl", []) is None


LINES = {
    "cut": lambda line: line[: len(line) // 2],
    "a list": lambda line: b"[1, 2]",
    "a number": lambda line: b"3",
    "text": lambda line: b'"text"',
    "null": lambda line: b"null",
    "not UTF-8": lambda line: line[:3] + b"\xff\xfe" + line[3:],
    "NUL": lambda line: line[:3] + b"\0" + line[3:],
    "two rows": lambda line: line + line,
    "deep": lambda line: b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of many digits": lambda line: b'{"text": ' + b"9" * 10_000 + b"}",
    "half a character": lambda line: b'{"remark": "\\ud800", ' + line[1:],
}


@every_task
@FEW
@given(command=commands, index=indices, damage=st.sampled_from(sorted(LINES)), last_newline=st.booleans())
def test_broken_lines_are_refused_with_their_number(task, call, command, index, damage, last_newline):
    lines = Path(write("rows.jsonl", GOOD[task][0])).read_bytes().splitlines()
    lines[index] = LINES[damage](lines[index])
    Path("rows.jsonl").write_bytes(b"\n".join(lines) + b"\n" * last_newline)
    check(call(command, task, "rows.jsonl", []), "rows.jsonl", f"line {index + 1}")


@every_task
@FEW
@given(
    command=commands,
    index=indices,
    suffix=st.sampled_from([".jsonl", ".json"]),
    value=st.sampled_from([..., *NO_TEXTS]),
    data=st.data(),
)
def test_texts_that_are_missing_or_no_texts_are_refused_with_their_row(task, call, command, index, suffix, value, data):
    rows = copy.deepcopy(GOOD[task][0])
    field = data.draw(st.sampled_from(GOOD[task][1]))
    rows[index][field] = value
    if value is ...:
        del rows[index][field]
    place = f"{'item' if suffix == '.json' else 'line'} {index + 1}"
    file = write(f"rows{suffix}", rows)
    optional = task == "multiple-choice" and field == "question" and value is ... and index == 0  # then no row has one
    message = call(command, task, file, [])
    if not (optional and message is None):
        check(message, file, place)


@pytest.mark.parametrize("task", [task for task in GOOD if GOOD[task][2] is not None])
@FEW
@given(command=commands, index=indices, value=st.sampled_from([..., *NO_TARGETS, *ODD_TARGETS]))
def test_targets_that_cannot_be_are_refused_with_their_row_and_prediction_needs_none(task, call, command, index, value):
    rows = copy.deepcopy(GOOD[task][0])
    rows[index][GOOD[task][2]] = value
    if value is ...:
        del rows[index][GOOD[task][2]]
    message = call(command, task, write("rows.jsonl", rows), [])
    if command == "predict":
        assert message is None
    elif message is not None or value in (..., *NO_TARGETS) or value != value:
        check(message, "rows.jsonl", f"line {index + 1}")


MISFITS = {
    "token-classification": [{"tags": ["O"]}, {"tags": []}, {"tags": ["O", "I-y"]}, {"tokens": ["a", "cat", "sat"]}],
    "question-answering": [
        {"answers": {"text": ["cat"], "answer_start": [0]}}, {"answers": {"text": ["cat"], "answer_start": [-3]}},
        {"answers": {"text": ["dog"], "answer_start": [2]}}, {"answers": {"text": ["cat"], "answer_start": []}},
        {"answers": {"text": ["cat"], "answer_start": [10**30]}}, {"answers": {"text": [""], "answer_start": [0]}}, {"context": ""},
    ],
    "multiple-choice": [{"label": 2}, {"label": -1}, {"choices": ["cat"], "label": 0}, {"choices": []}, {"label": "C"}, {"choices": ["a", "a"], "label": "a"}],
    "multi-label-classification": [{"labels": ["x", "x"]}, {"labels": 1}, {"labels": {"x": 5}}],
    "regression": [{"label": "high"}, {"label": "1,5"}, {"label": 10**400}, {"label": float("inf")}, {"label": True}],
}  # fmt: skip


@pytest.mark.parametrize("task", MISFITS)
@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_fields_that_do_not_fit_together_are_refused_with_their_row(command, task, call):
    for index, misfit in enumerate(MISFITS[task]):
        rows = copy.deepcopy(GOOD[task][0])
        rows[index % 6] |= misfit
        check(call(command, task, write("rows.jsonl", rows), []), "rows.jsonl", f"line {index % 6 + 1}")


@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification", "token-classification"])
@FEW
@given(index=indices, command=st.sampled_from(["--validation-file", "--test-file", "evaluate"]))
def test_labels_that_only_the_other_file_has_are_refused_with_their_row(task, call, index, command):
    rows = copy.deepcopy(GOOD[task][0])
    target = GOOD[task][2]
    rows[index][target] = {"label": "z", "labels": ["z"], "tags": ["O", "B-z"]}[target]
    other, train = write("other.jsonl", rows), write("train.jsonl", GOOD[task][0])
    message = (
        call("evaluate", task, other, []) if command == "evaluate" else call("finetune", task, train, [command, other])
    )
    check(message, "other.jsonl", f"line {index + 1}")


WHOLE = {
    "empty": ("rows.jsonl", b""),
    "blank lines": ("rows.jsonl", b"\n \n\n"),
    "empty list": ("rows.json", b"[]"),
    "a number": ("rows.json", b"3"),
    "deep": ("rows.json", b"[" * 100_000 + b"]" * 100_000),
    "cut": ("rows.json", b'[{"text": "a"'),
    "only a header": ("rows.csv", b"text,label\n"),
    "columns twice": ("rows.csv", b"text,text\na,b\n"),
    "wrong columns": ("rows.csv", b"first,second\na,b\nc,d\n"),
    "open quote": ("rows.csv", b'text,label\n"a,x\nb,y\n'),
    "ragged": ("rows.csv", b"text,label\na,x,z\nb,y\n"),
    "no gzip": ("rows.jsonl.gz", b"not compressed"),
    "cut gzip": ("rows.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 100)[:-9]),
    "no parquet": ("rows.parquet", b"PAR1 and more"),
    "another suffix": ("rows.xlsx", b"PK"),
    "no suffix": ("rows", b'{"text": "a"}\n'),
    "lines of a folder": ("rows.jsonl/inner.jsonl", b'{"text": "a"}\n'),
    "UTF-16": ("rows.csv", "text,label\na,x\n".encode("utf-16")),
    "zeros": ("rows.jsonl", b"\0" * 100),
}


@pytest.mark.parametrize("damage", WHOLE)
@pytest.mark.parametrize("command", ["finetune", "evaluate", "predict"])
def test_files_that_hold_nothing_of_use_are_refused(command, damage, call):
    name, content = WHOLE[damage]
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content)
    for task in ("text-classification", "question-answering"):
        check(call(command, task, name.split("/")[0], []), name.split("/")[0], None)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_empty_splits_are_refused_by_their_file(split, call):
    rows = GOOD["text-classification"][0]
    Path("folder").mkdir()
    for name in ("train", "validation", "test"):
        write(f"folder/{name}.jsonl", [] if name == split else rows)
    message = call("finetune", "text-classification", "folder", ["--test-file", "test"])
    check(message, "folder", split)
    if split != "train":
        other = ["--split", split]
        check(call("predict", "text-classification", "folder", other), "folder", split)


@every_task
@FEW
@given(command=commands, index=indices, value=st.sampled_from(NO_TEXTS[:3]), data=st.data())
def test_parquet_with_odd_columns_is_refused_with_its_row(task, call, command, index, value, data):
    rows = copy.deepcopy(GOOD[task][0])
    field = data.draw(st.sampled_from(GOOD[task][1]))
    if value is None:
        rows[index][field] = None
    else:  # a column of parquet has one type
        rows, index = [{**row, field: value} for row in rows], 0
    parquet.write_table(pyarrow.Table.from_pylist(rows), "rows.parquet")
    check(call(command, task, "rows.parquet", []), "rows.parquet", f"row {index + 1}")
