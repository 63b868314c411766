"""
Every code block of the README runs as it stands, in order, in one folder; of the pages in `docs/`, those in Python.

What imports other libraries takes long: that page, and that section of the README, run with the slow tests.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from electra_plus.cli.main import main
from electra_plus.data.corpus import read_documents
from electra_plus.samples import sample_path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and code of each block of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


BLOCKS = blocks(README)
OF_OTHER_LIBRARIES = blocks(README.partition("\n## With other libraries\n")[2].partition("\n## ")[0])
OTHER_LIBRARIES = ("onnxruntime", "peft", "sentence_transformers", "setfit", "torchao")
SLOW_PAGES = {"neighbours.md": OTHER_LIBRARIES}  # and the packages they need
MAKE_BLOCKS = [code for language, code in BLOCKS if language == "bash" and code.startswith("make ")]


def shell(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run shell lines with this interpreter's commands first on the path; fail with what they printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{code}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run


def commands(code: str, folder: Path) -> None:
    """Run shell lines, our commands in this process: each would spend most of its time on starting."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["electra-plus"]:
            assert main(words[1:]) == 0, line
        elif words:
            shell(line, folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What a reader brings: text files and labelled reviews."""
    book = next(iter(read_documents([sample_path("held_out_book.txt.gz")])))
    (tmp_path / "my_texts").mkdir()
    documents = ["\n".join(book[start : start + 10]) for start in range(0, 800, 10)]
    (tmp_path / "my_texts" / "book.txt").write_text("\n\n".join(documents), encoding="utf-8")
    rows = ["text,label"] + [
        f"{text},{label}" for text in ("good phone", "bad food", "nice film") for label in "01"
    ] * 5
    (tmp_path / "reviews.csv").write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("with_other_libraries", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_code_blocks_run(folder, with_other_libraries):
    for package in OTHER_LIBRARIES if with_other_libraries else ():
        pytest.importorskip(package)
    namespace: dict = {}
    for number, (language, code) in enumerate(BLOCKS, start=1):
        if (language, code) in OF_OTHER_LIBRARIES and not with_other_libraries:
            continue
        if language == "yaml":
            name = re.match(r"# (\S+)", code)[1]
            (folder / name).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, f"README block {number}", "exec"), namespace)
        elif language == "bash" and code not in MAKE_BLOCKS:
            # the first as a shell does it
            run = (
                shell
                if code == next(block for kind, block in BLOCKS if kind == "bash" and block not in MAKE_BLOCKS)
                else commands
            )
            run(code, folder)
        else:
            assert code in MAKE_BLOCKS, f"README block {number} is {language}: nothing runs it"
    assert namespace["answer"][0]["label"] in {"0", "1"}
    assert {"joint", "pretrained", "sentiment", "stock-electra", "bert-and-electra"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in SLOW_PAGES else [])
        for page in sorted((ROOT / "docs").glob("*.md"))
    ],
)
def test_python_of_the_pages_runs(page, folder):
    """Their shell lines are for machines that a test has not got; their yaml is read at least."""
    for package in SLOW_PAGES.get(page.name, ()):
        pytest.importorskip(package)
    namespace: dict = {}
    for number, (language, code) in enumerate(blocks(page.read_text(encoding="utf-8")), start=1):
        if language == "python":
            exec(compile(code, f"{page.name} block {number}", "exec"), namespace)
        elif language == "yaml":
            assert yaml.safe_load(code)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("line", MAKE_BLOCKS[0].splitlines(), ids=lambda line: line.split("#")[0].strip())
def test_make_lines_work_on_a_fresh_copy(line, tmp_path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    # not this environment's variables: the Makefile finds its own interpreter
    shell(line, tmp_path, VIRTUAL_ENV="", PYTHONPATH="")
