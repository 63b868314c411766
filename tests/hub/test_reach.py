"""Every cell of README's table of what works from where, each asked in a process of its own."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_hub import LocalHub
from pipeline_helpers import assert_same, build, small_tokenizer, translator
from reach import REACH, TEXT, WAYS, reach_table

import electra_plus

HERE = Path(__file__).parent
MODELS = {
    "encoder": lambda: electra_plus.ElectraPlusModel(build("MaskedLM", flavour="classic").config).eval(),
    "joint": lambda: build("PreTraining", flavour="classic"),
    "modern": lambda: build("PreTraining", flavour="modern"),
    "detector": lambda: build("ReplacedTokenDetection", flavour="classic"),
    "masked-lm": lambda: build("MaskedLM", flavour="classic"),
    "causal-lm": lambda: build("CausalLM", flavour="classic", is_decoder=True, tie_word_embeddings=False),
    "classifier": lambda: build("SequenceClassification", flavour="classic"),
    "modern-classifier": lambda: build("SequenceClassification", flavour="modern"),
    "tagger": lambda: build("TokenClassification", flavour="classic"),
    "answers": lambda: build("QuestionAnswering", flavour="classic"),
    "choice": lambda: build("MultipleChoice", flavour="classic"),
    "reader": lambda: build("LongSequenceClassification", chunk_length=24),
    "translator": translator,
}
WITHOUT_STOCK = ("modern", "modern-classifier", "reader", "translator")


def digest(model) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def reached(tmp_path_factory):
    """Publish all models, ask everything; return the models and the answers of each way."""
    folder = tmp_path_factory.mktemp("reach")
    hub = LocalHub()
    with pytest.MonkeyPatch.context() as monkeypatch:
        hub.use(monkeypatch, folder)
        models = {name: make() for name, make in MODELS.items()}
        for name, model in models.items():
            electra_plus.push_to_hub(model, f"me/{name}", tokenizer=small_tokenizer(), license="mit")
            if name not in WITHOUT_STOCK:
                electra_plus.push_to_hub(
                    model, f"me/stock-{name}", tokenizer=small_tokenizer(), stock=True, license="mit"
                )
        started = {}
        for way in WAYS:
            questions = {
                f"{title} {i}": one for title, cells in REACH.items() for i, one in enumerate(cells.get(way, ()))
            }
            started[way] = subprocess.Popen(
                [sys.executable, str(HERE / "reach_elsewhere.py"), way],
                cwd=folder,
                env={**os.environ, **hub.environment(folder / way)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started[way].stdin.write(json.dumps(questions))
            started[way].stdin.close()
        answers = {}
        for way, process in started.items():
            process.stdin = None
            printed, said = process.communicate()
            assert process.returncode == 0, said[-3000:]
            answers[way] = json.loads(printed.splitlines()[-1])
    hub.close()
    return models, answers


def expected(models: dict, function: str, arguments: tuple, keywords: dict):
    """What a model says that never left this process."""
    if function == "trained":
        return True
    if function == "tokenized":
        return small_tokenizer()(TEXT)["input_ids"]
    if function == "detector":
        return digest(models[arguments[1]].discriminator)
    if function == "loaded":
        auto, repo = arguments
        model = models[repo]
        if keywords:
            model = model.generator
        elif auto == "AutoModel" and repo == "joint":
            model = model.electra
        return digest(model)
    task, repo, *inputs = arguments
    return electra_plus.pipeline(task, models[repo], tokenizer=small_tokenizer(), device="cpu")(*inputs, **keywords)


CELLS = [(title, way) for title, cells in REACH.items() for way in cells]


@pytest.mark.slow
@pytest.mark.parametrize(("title", "way"), CELLS, ids=[f"{title}-{way}" for title, way in CELLS])
def test_it_opens_and_is_the_same_to_the_last_bit(title, way, reached):
    models, answers = reached
    for number, (function, arguments, keywords) in enumerate(REACH[title][way]):
        wanted = json.loads(json.dumps(expected(models, function, arguments, keywords), default=float))
        assert_same(answers[way][f"{title} {number}"], wanted)


def test_readme_has_the_table():
    assert reach_table() in (HERE.parent.parent / "README.md").read_text(encoding="utf-8")
