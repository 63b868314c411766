"""What comes from the Hub: whole and as it was uploaded, or an error and nothing left behind."""

import copy
import json
import re

import pytest
import torch
import transformers
from local_hub import Fault, LocalHub
from packaging.version import Version
from pipeline_helpers import WITHOUT_PACKAGE, build, small_tokenizer

import electra_plus
from electra_plus.hub import pull


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A model, and what a Hub holds after it was pushed."""
    first = LocalHub()
    with pytest.MonkeyPatch.context() as monkeypatch:
        first.use(monkeypatch, tmp_path_factory.mktemp("pushed"))
        model = build("SequenceClassification", flavour="classic")
        electra_plus.push_to_hub(model, "me/it", tokenizer=small_tokenizer(), license="mit")
    first.close()
    return model, first.repositories, first.large


@pytest.fixture
def published(hub, pushed):
    """The model that the Hub holds."""
    model, repositories, large = pushed
    hub.repositories.update(copy.deepcopy(repositories))
    hub.large.update(large)
    return model


def cached(tmp_path) -> list[str]:
    """Files of the cache that are whole, by name."""
    return [file.name for file in (tmp_path / "cache").rglob("snapshots/*/*")]


def test_a_pulled_folder_is_the_repository(hub, published):
    folder = pull("me/it")
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} == set(
        hub.files("me/it")
    )
    again = electra_plus.ElectraPlusForSequenceClassification.from_pretrained(folder)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in published.state_dict().items())


OPEN = {"pull": pull, "from_pretrained": electra_plus.ElectraPlusForSequenceClassification.from_pretrained}


@pytest.mark.parametrize("way", OPEN)
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no repository", r"no such repository|not a valid model identifier"),
        ("gated", r"says 401. Log in by `hf auth login`|access a gated repo"),
        ("failing", r"says 500. Try again later|couldn't connect"),
    ],
)
def test_a_hub_that_refuses_or_fails_is_said_and_nothing_is_kept(
    way, what, message, hub, published, tmp_path, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    if what == "gated":
        hub.repositories["me/it"].gated = True
        monkeypatch.delenv("HF_TOKEN")
    elif what == "failing":
        hub.faults.append(Fault("me/it", status=500))
    with pytest.raises(OSError, match=message) as raised:
        OPEN[way]("me/nothing" if what == "no repository" else "me/it")
    assert way == "from_pretrained" or "\n" not in str(raised.value)
    assert "model.safetensors" not in cached(tmp_path)


def test_a_file_that_is_cut_off_is_fetched_whole_the_next_time(hub, published, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with hub.fault(r"GET .*\.safetensors$", cut=5000), pytest.raises(OSError):
        pull("me/it")
    assert "model.safetensors" not in cached(tmp_path)
    pull("me/it")


def test_a_file_that_was_cut_where_it_lies_is_said(hub, published):
    whole = hub.files("me/it")["model.safetensors"]
    hub.repositories["me/it"].commit("main", {"model.safetensors": whole[:5000]})
    with pytest.raises(OSError, match=r"model\.safetensors.*(incomplete|truncated)"):
        electra_plus.ElectraPlusForSequenceClassification.from_pretrained("me/it")
    with pytest.raises(ValueError, match="`model.safetensors` is no whole safetensors file"):
        pull("me/it")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_another_checksum_is_refused_and_deleted(name, hub, published, tmp_path):
    content = bytearray(hub.files("me/it")[name])
    content[-3] ^= 1  # of the same length, and one that opens
    with (
        hub.fault(f"GET .*/{name}$", change=bytes(content)),
        pytest.raises(ValueError, match=f"{name} arrived damaged"),
    ):
        pull("me/it")
    assert name not in cached(tmp_path)
    assert (pull("me/it") / name).read_bytes() == hub.files("me/it")[name]


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.23"),
    reason="5.17 takes the weights of where the branch is by then; pull does not",
)
def test_all_files_are_of_one_commit_while_somebody_pushes(hub, published, tmp_path):
    """The branch moves when the configuration has come and before the weights are asked for."""
    other = build("SequenceClassification", flavour="classic", hidden_size=64)
    other.save_pretrained(tmp_path / "other")
    pushed = {name: (tmp_path / "other" / name).read_bytes() for name in ("config.json", "model.safetensors")}
    answered = hub.fault_of

    def push_meanwhile(line):
        if line.endswith("/model.safetensors") and len(hub.repositories["me/it"].commits) == 2:
            hub.repositories["me/it"].commit("main", pushed)
        return answered(line)

    hub.fault_of = push_meanwhile
    again = transformers.AutoModelForSequenceClassification.from_pretrained("me/it")
    assert len(hub.repositories["me/it"].commits) == 3
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in published.state_dict().items())


def test_a_revision_that_is_gone_is_said(hub, published):
    with pytest.raises(FileNotFoundError, match=r"no such repository, revision"):
        pull("me/it", revision="v9")
    with pytest.raises(OSError, match="v9"):
        electra_plus.ElectraPlusForSequenceClassification.from_pretrained("me/it", revision="v9")


def test_pickles_of_a_repository_are_not_fetched(hub, published):
    hub.repositories["me/it"].commit("main", {"pytorch_model.bin": b"code", "evil.pkl": b"code"})
    folder = pull("me/it")
    assert not list(folder.glob("*.bin")) and not list(folder.glob("*.pkl"))


@pytest.mark.parametrize("name", ["../../outside.json", "a/../../outside.json"])
def test_a_repository_whose_names_lead_elsewhere_writes_nothing_there(name, hub, published, tmp_path):
    hub.repositories["me/it"].commit("main", {name: b"{}"})
    with pytest.raises((OSError, ValueError)):
        pull("me/it")
    assert not list(tmp_path.rglob("outside.json"))


def test_an_index_whose_names_lead_elsewhere_is_refused(hub, published, tmp_path):
    (tmp_path / "secret.safetensors").write_bytes(hub.files("me/it")["model.safetensors"])
    index = {"metadata": {}, "weight_map": {"x": "../../../../../secret.safetensors"}}
    hub.repositories["me/it"].commit(
        "main", {"model.safetensors": None, "model.safetensors.index.json": json.dumps(index).encode()}
    )
    with pytest.raises(ValueError, match="is not beside it"):
        pull("me/it")


def test_an_old_revision_of_the_code_still_loads(hub, published, elsewhere):
    """Code and weights may come from different commits; without a pin, the newest code is taken."""
    first = hub.repositories["me/it"].branches["main"]
    name = "modeling_electra_plus_heads.py"
    changed = hub.files("me/it")[name] + b"\n\nElectraPlusForSequenceClassification.written_in = 'version 2'\n"
    hub.repositories["me/it"].commit("main", {name: changed})
    code = (
        WITHOUT_PACKAGE
        + """
import transformers
for pin in (None, sys.argv[1]):
    model = transformers.AutoModelForSequenceClassification.from_pretrained("me/it", trust_remote_code=True, code_revision=pin)
    print(getattr(model, "written_in", "version 1"), model.num_parameters())
"""
    )
    count = published.num_parameters()
    assert elsewhere(code, first).splitlines()[-2:] == [f"version 2 {count}", f"version 1 {count}"]


def test_without_package_and_flag_nothing_runs_and_the_cure_is_said(hub, published, elsewhere):
    code = WITHOUT_PACKAGE + "\nimport transformers\ntransformers.AutoModel.from_pretrained('me/it')"
    said = elsewhere(f"{code}", fails=True)
    assert re.search(r"trust_remote_code=True", said)


def test_our_code_never_trusts_by_itself():
    """The flag is the user's: no line of the package turns it on."""
    from pathlib import Path

    for file in Path(electra_plus.__file__).parent.rglob("*.py"):
        code = "\n".join(
            line for line in file.read_text(encoding="utf-8").splitlines() if "transformers.pipeline(" not in line
        )
        for found in re.finditer(r"trust_remote_code\s*=\s*True", code):
            line = code[: found.start()].count("\n")
            around = code.splitlines()[max(0, line - 2) : line + 1]
            quoted = any(mark in "".join(around) for mark in ('"', "`", "'"))
            assert quoted, f"{file.name}: {code.splitlines()[line]}"


def test_with_the_package_the_flag_changes_nothing(hub, published):
    for flag in ({}, {"trust_remote_code": True}):
        model = transformers.AutoModelForSequenceClassification.from_pretrained("me/it", **flag)
        assert type(model) is electra_plus.ElectraPlusForSequenceClassification
    assert not any(line.endswith(".py") for line in hub.requests), "no code is fetched"
