"""
Every code block of the README and of the pages in `docs/` runs as it stands, in order, in one folder for each page.

Comments, which no reader sees, say what a page needs. In its first lines:

    <!-- slow -->                    runs with the slow tests alone
    <!-- with: pretrained -->        finds a small pretrained checkpoint of that name in its folder
    <!-- needs: peft setfit -->      is skipped where one of these packages is missing

and right before a block:

    <!-- not run: two machines -->   why a test cannot run it
    <!-- file: rows.jsonl -->        the block is the file of that name, as is a yaml block that begins with `# name.yaml`

The README's section on other libraries runs with the slow tests, since it imports them.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from local_hub import LocalHub

from electra_plus.cli.main import main
from electra_plus.data.corpus import read_documents
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining
from electra_plus.samples import sample_path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A code block of a page, and what the comment before it says: `"not run"` and why, `"file"` and its name, or nothing."""

    language: str
    code: str
    remark: str = ""
    value: str = ""


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page in order."""
    pattern = r"^(?:<!-- (not run|file): ([^\n]+) -->\n\n?)?```(\w+)\n(.*?)^```$"
    found = re.findall(pattern, page, flags=re.MULTILINE | re.DOTALL)
    fences = re.findall(r"^\s*(?:```|~~~)", page, flags=re.MULTILINE)
    assert len(fences) == 2 * len(found), "a fence without a language, or an indented one, which nothing would run"
    return [Block(language, code, remark, value) for remark, value, language, code in found]


BLOCKS = blocks(README)
OF_OTHER_LIBRARIES = blocks(README.partition("\n## With other libraries\n")[2].partition("\n## ")[0])
OTHER_LIBRARIES = ("onnxruntime", "peft", "sentence_transformers", "setfit", "torchao")
MAKE_BLOCKS = [block.code for block in BLOCKS if block.language == "bash" and block.code.startswith("make ")]


def page_parameter(page: Path):
    """A page as a parameter of a test, marked as its first lines say."""
    slow = "<!-- slow -->" in page.read_text(encoding="utf-8").splitlines()[:5]
    return pytest.param(page, id=page.name, marks=[pytest.mark.slow] if slow else [])


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
    hub = LocalHub()  # what pages publish goes there
    hub.use(monkeypatch, tmp_path / "of the Hub")
    yield tmp_path
    hub.close()


@pytest.mark.parametrize("with_other_libraries", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_code_blocks_run(folder, with_other_libraries):
    for package in OTHER_LIBRARIES if with_other_libraries else ():
        pytest.importorskip(package)
    namespace: dict = {}
    for number, block in enumerate(BLOCKS, start=1):
        if block in OF_OTHER_LIBRARIES and not with_other_libraries:
            continue
        language, code = block.language, block.code
        if language == "yaml":
            name = re.match(r"# (\S+)", code)[1]
            (folder / name).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, f"README block {number}", "exec"), namespace)
        elif language == "bash" and code not in MAKE_BLOCKS:
            # the first as a shell does it
            run = (
                shell
                if code == next(b.code for b in BLOCKS if b.language == "bash" and b.code not in MAKE_BLOCKS)
                else commands
            )
            run(code, folder)
        else:
            assert code in MAKE_BLOCKS, f"README block {number} is {language}: nothing runs it"
    assert namespace["answer"][0]["label"] in {"0", "1"}
    assert {"joint", "pretrained", "sentiment", "stock-electra", "bert-and-electra"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A joint checkpoint with its tokenizer, as `electra-plus pretrain` leaves one, but not trained."""
    folder = tmp_path_factory.mktemp("checkpoint") / "pretrained"
    book = next(iter(read_documents([sample_path("held_out_book.txt.gz")])))
    tokenizer = train_wordpiece_tokenizer(book, vocab_size=2000)
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    ElectraPlusForPreTraining(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("page", [page_parameter(page) for page in sorted((ROOT / "docs").glob("*.md"))])
def test_code_blocks_of_the_page_run(page, folder, request):
    text = page.read_text(encoding="utf-8")
    for package in (re.search(r"^<!-- needs: (.*) -->$", text, flags=re.MULTILINE) or ["", ""])[1].split():
        pytest.importorskip(package)
    if "<!-- with: pretrained -->" in text.splitlines()[:5]:
        shutil.copytree(request.getfixturevalue("checkpoint"), folder / "pretrained")
    namespace: dict = {}
    for number, (language, code, remark, value) in enumerate(blocks(text), start=1):
        named = re.match(r"# (\S+\.yaml)\n", code)
        if remark == "file" or (language == "yaml" and named):
            (folder / (value or named[1])).write_text(code, encoding="utf-8")
        if language == "yaml":
            assert yaml.safe_load(code), f"{page.name} block {number}"
        elif remark == "not run":
            assert value.strip()
        elif language == "python":
            exec(compile(code, f"{page.name} block {number}", "exec"), namespace)
        elif language == "bash":
            commands(code, folder)
        else:  # `text` shows what a command prints
            assert remark == "file" or language == "text", f"{page.name} block {number} is {language}: nothing runs it"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{target}#{anchor}"


def test_a_page_is_read_as_its_comments_say():
    page = (
        "<!-- not run: no GPU -->\n```bash\nrm x\n```\n\n<!-- file: a.csv -->\n\n```text\na\n```\n\n```python\n1\n```\n"
    )
    assert blocks(page) == [
        ("bash", "rm x\n", "not run", "no GPU"),
        ("text", "a\n", "file", "a.csv"),
        ("python", "1\n", "", ""),
    ]
    for lost in ("```\nelectra-plus prepare\n```\n", "- so:\n\n  ```bash\n  electra-plus prepare\n  ```\n"):
        with pytest.raises(AssertionError, match="nothing would run"):
            blocks(page + lost)


def test_messages_that_the_page_of_troubles_quotes_exist():
    """In the first column of its tables, what is in code marks and has a space is a part of a message of ours."""
    sources = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "electra_plus").rglob("*.py")))
    joined = re.sub(r"""["']\s*\n\s*f?["']""", "", sources)  # strings that go on in the next line
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    symptoms = re.findall(r"^\| (.*?) \|", page, flags=re.MULTILINE)
    quoted = [code for symptom in symptoms for code in re.findall(r"`([^`]+)`", symptom) if " " in code]
    assert len(quoted) > 20
    assert [message for message in quoted if message not in joined] == []


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
