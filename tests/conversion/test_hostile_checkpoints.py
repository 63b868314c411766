"""Checkpoints made to do harm are refused in one line; nothing runs, nothing fills memory or disk, nothing is left behind."""

import io
import json
import os
import pickle
import resource
import shutil
import stat
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
import transformers
from conversion_helpers import perturbed, saved
from head_helpers import make_model

from electra_plus.cli.main import main
from electra_plus.conversion import archives
from electra_plus.conversion.weights import is_plain_name

# torch says of what it is given here that it is odd
pytestmark = [
    pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
    pytest.mark.filterwarnings("ignore:Sparse invariant"),
]
TENSORFLOW = Path(__file__).parent / "tensorflow_checkpoints"
CONFIG = {"vocab_size": 99, "hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
          "intermediate_size": 48}  # fmt: skip


class RunsCode:
    """What a hostile pickle does: it calls anything."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tmp_path) -> Path:
    return saved(perturbed(transformers.ElectraModel(transformers.ElectraConfig(**CONFIG))), tmp_path / "model")


@pytest.fixture
def refused(tmp_path, capsys):
    """Convert, and return the line of refusal; memory stays, and so does what lies around."""

    def convert(model: Path, *arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        temporary = sorted(Path(tempfile.gettempdir()).glob("electra-plus-*"))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        status = main(
            ["convert", "--model", str(model), "--to", "electra-plus", "--output", str(tmp_path / "out"), *arguments]
        )
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert status == 2 and error.startswith("electra-plus convert: ")
        assert sorted(tmp_path.rglob("*")) == before
        assert sorted(Path(tempfile.gettempdir()).glob("electra-plus-*")) == temporary
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000  # kilobytes
        return error

    return convert


# ---- lists of shards ----


@pytest.mark.parametrize(
    "outside", ["../secret.safetensors", "/etc/passwd", "a/../../x", "..\\x", "C:x", ".", "", 7, None]
)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_list_of_shards_leads_nowhere_else(file, outside, folder, refused, tmp_path):
    shutil.copy(folder / "model.safetensors", tmp_path / "secret.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / f"{file}.index.json").write_text(json.dumps({"weight_map": {"embeddings.x": outside}}))
    error = refused(folder)
    assert "is not in its folder: refused" in error or "is no list of weight files" in error


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"weight_map": 3}', "[" * 100_000, '{"weight_map": {"a": "gone"}}']
)
def test_list_of_shards_that_is_none(content, folder, refused):
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    (folder / "model.safetensors.index.json").write_text(content)
    assert "Copy or download it" in refused(folder)


def test_plain_names():
    assert is_plain_name("model-00001-of-00002.safetensors") and is_plain_name("..a")
    for name in ("a/b", "/a", "../a", "a\\b", "C:a", "a\0", "", ".", "..", None):
        assert not is_plain_name(name), name


# ---- safetensors ----


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", (1 << 64) - 1) + b"{}",
        struct.pack("<Q", 1000) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a":{}}',
    ],
)
def test_header_of_safetensors_that_lies(content, folder, refused):
    (folder / "model.safetensors").write_bytes(content)
    assert "cannot be read" in refused(folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
        {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
    ],
)
def test_entry_of_safetensors_that_lies(entry, folder, refused):
    header = json.dumps({"embeddings.word_embeddings.weight": entry}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    assert "cannot be read" in refused(folder)


def test_header_of_hundreds_of_megabytes_is_not_parsed(folder, refused):
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", 300 << 20))
        file.truncate(301 << 20)  # takes no space
    assert "cannot be read" in refused(folder)


def test_name_of_a_tensor_is_no_path(folder, refused):
    header = json.dumps({"../../outside": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    assert "no place is known for ../../outside" in refused(folder) or "would keep random" in refused(folder)
    (folder / "model.safetensors").rename(folder.with_name("alone.safetensors"))
    assert "must hold an encoder" in refused(folder.with_name("alone.safetensors"))


def test_cut_off_weights(folder, refused):
    content = (folder / "model.safetensors").read_bytes()
    for size in (4, 100, len(content) // 2, len(content) - 1):
        (folder / "model.safetensors").write_bytes(content[:size])
        assert "cannot be read" in refused(folder)


# ---- pickles ----


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["pytorch_model.bin", "trained.pt", "trained.pth", "trained.ckpt", "generator"])
def test_pickle_that_runs_code_does_not(where, protocol, folder, refused, tmp_path):
    made = tmp_path / "made by the pickle"
    tensors = torch.load(io.BytesIO(_saved_bytes(folder)), weights_only=True)
    options = {"_use_new_zipfile_serialization": protocol != 0, "pickle_protocol": max(protocol, 2)}
    for hostile in ({**tensors, "x": RunsCode(made)}, RunsCode(made), {"model": tensors, "opt": [RunsCode(made)]}):
        if where == "generator":
            bad = tmp_path / "bad"
            bad.mkdir(exist_ok=True)
            shutil.copy(folder / "config.json", bad / "config.json")
            torch.save(hostile, bad / "pytorch_model.bin", **options)
            detector = saved(make_model("ElectraPlusForReplacedTokenDetection", "classic"), tmp_path / "detector")
            error = refused(detector, "--generator", str(bad))
        elif where == "pytorch_model.bin":
            (folder / "model.safetensors").unlink(missing_ok=True)
            torch.save(hostile, folder / where, **options)
            error = refused(folder)
        else:
            torch.save(hostile, tmp_path / where, **options)
            error = refused(tmp_path / where)
        assert "refused" in error and "save its weights alone" in error
        assert "mkdir" in error or protocol == 4  # which torch reads nothing of
    assert not made.exists()


def _saved_bytes(folder: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(transformers.ElectraModel.from_pretrained(folder).state_dict(), buffer)
    return buffer.getvalue()


def test_bare_pickle_does_not_run(tmp_path, refused):
    made = tmp_path / "made by the pickle"
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(RunsCode(made)))
    assert "refused" in refused(tmp_path / "bare.pt")
    assert not made.exists()


def test_tensor_that_claims_more_than_is_stored(tmp_path, refused):
    for name, tensor in {
        "embeddings.word_embeddings.weight": torch.zeros(1, 1).expand(1 << 33, 64),
        "sparse": torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1), (1 << 40,)),
    }.items():
        torch.save({name: tensor}, tmp_path / "claims.pt")
        assert "more than the file holds of it: refused" in refused(tmp_path / "claims.pt")


def test_archive_of_torch_that_would_grow(tmp_path, refused):
    torch.save({"a": torch.zeros(30 << 20, dtype=torch.uint8)}, tmp_path / "stored.pt")
    grows = zipfile.ZipFile(tmp_path / "grows.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "stored.pt") as stored, grows:
        for member in stored.infolist():
            grows.writestr(member.filename, stored.read(member))
    assert "which no checkpoint does: refused" in refused(tmp_path / "grows.pt")


# ---- code beside the weights ----


def test_code_beside_weights_is_never_imported(tmp_path, folder):
    bert = saved(transformers.BertForMaskedLM(transformers.BertConfig(**CONFIG)), tmp_path / "bert")
    detector = saved(
        perturbed(make_model("ElectraPlusForReplacedTokenDetection", "classic", local_attention=128)),
        tmp_path / "detector",
    )
    names = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoTokenizer")
    for model in (folder, bert, detector):
        config = json.loads((model / "config.json").read_text())
        config["auto_map"] = {name: f"evil_beside_weights.{name}" for name in names}
        (model / "config.json").write_text(json.dumps(config))
        (model / "tokenizer_config.json").write_text(json.dumps({"auto_map": config["auto_map"]}))
        (model / "evil_beside_weights.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for model, options in ((folder, []), (detector, ["--generator", str(bert)]), (bert, [])):
        output = tmp_path / f"out of {model.name}"
        assert main(["convert", "--model", str(model), "--to", "electra-plus", "--output", str(output), *options]) == 0
        assert not (tmp_path / "ran").exists() and not any("evil" in name for name in sys.modules)
        assert "evil" not in (output / "config.json").read_text()
        assert not (output / "evil_beside_weights.py").exists()


# ---- zip archives ----


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "a/../../outside", "..\\outside", "C:\\outside", "\\outside"]
)
def test_archive_leads_nowhere_else(name, tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "electra.zip", "w") as archive:
        archive.writestr("electra/model.index", b"x")
        archive.writestr(name, b"x")
    assert "outside the folder: refused" in refused(tmp_path / "electra.zip")
    assert not (tmp_path.parent / "outside").exists()


def test_links_in_archives_are_refused(tmp_path, refused):
    link = zipfile.ZipInfo("electra/vocab.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "electra.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in refused(tmp_path / "electra.zip")


def test_archive_that_would_fill_the_disk(tmp_path, refused, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("electra/model.index", bytes(40 << 20))
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    assert "which no checkpoint does: refused" in refused(tmp_path / "bomb.zip")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}", b"")
    assert "4 files" in refused(tmp_path / "many.zip")


def test_member_larger_than_it_says(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "liar.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("electra/model.index", bytes(40 << 20))
    content = (tmp_path / "liar.zip").read_bytes()
    (tmp_path / "liar.zip").write_bytes(content.replace(struct.pack("<I", 40 << 20), struct.pack("<I", 1000)))
    assert "cannot be read as a zip archive" in refused(tmp_path / "liar.zip")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18)])
def test_archive_that_is_none_or_empty(content, tmp_path, refused):
    (tmp_path / "electra.zip").write_bytes(content)
    assert "zip archive" in refused(tmp_path / "electra.zip") or "config.json" in refused(tmp_path / "electra.zip")


def test_damaged_tensorflow_checkpoint_in_an_archive(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "electra.zip", "w") as archive:
        for file in (TENSORFLOW / "electra").glob("model*"):
            content = bytearray(file.read_bytes())
            content[-100] ^= 1
            archive.writestr(f"electra/{file.name}", bytes(content))
    assert "Copy or download it again" in refused(tmp_path / "electra.zip")


# ---- configurations ----


@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_size": 1 << 40},
        {"vocab_size": 1 << 60},
        {"hidden_size": "32"},
        {"num_attention_heads": 0},
        {"hidden_act": "../x"},
        {"architectures": ["../../x"]},
        {"architectures": "ElectraModel"},
        {"model_type": ["electra"]},
        {"auto_map": {"AutoModel": "evil.Model"}, "architectures": ["Evil"]},
    ],
)
def test_configuration_that_cannot_be(fields, folder, refused):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    (folder / "evil.py").write_text("raise SystemExit")
    refused(folder)
    assert "evil" not in sys.modules
