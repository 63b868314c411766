"""Checkpoints that TensorFlow wrote are read as TensorFlow reads them, and damaged or dishonest ones are refused."""

import random
import resource
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from electra_plus.conversion import tensor_bundle
from electra_plus.conversion.tensor_bundle import MAGIC, TensorBundle, crc32c

FOLDER = Path(__file__).parent / "tensorflow_checkpoints"
INDEXES = {"electra": "model.ckpt-1000.index", "bert": "bert_model.ckpt.index"}


@pytest.fixture
def index(tmp_path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(FOLDER / "electra", tmp_path / "electra")
    return tmp_path / "electra" / INDEXES["electra"]


def data_file(index: Path) -> Path:
    return index.with_name(f"{index.stem}.data-00000-of-00001")


def refused(index: Path) -> str:
    """Return the message, which is one line; reading anything at all must fail."""
    with pytest.raises(ValueError) as caught:
        bundle = TensorBundle(index)
        for name in bundle.infos:
            bundle.read(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", INDEXES)
def test_every_tensor_is_what_tensorflow_reads(name):
    bundle = TensorBundle(FOLDER / name / INDEXES[name])
    expected = load_file(FOLDER / name / "as_tensorflow_reads_it.safetensors")
    assert bundle.infos.keys() == expected.keys()
    for tensor, value in expected.items():
        assert bundle.infos[tensor] == (tuple(value.shape), value.dtype)
        assert torch.equal(bundle.read(tensor), value), tensor
    if name == "electra":
        assert bundle.read("global_step").item() == 1000 and bundle.infos["global_step"].shape == ()


# ---- checksums ----


def plain_crc32c(content: bytes) -> int:
    """A bit at a time, by the polynomial alone."""
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [0, 1, 63, 1023, 1024, 1025, 5000, 20_011])
def test_checksum_in_lanes_is_the_plain_one(length):
    content = torch.randint(0, 256, (length,), dtype=torch.uint8).numpy().tobytes()
    assert crc32c(content) == plain_crc32c(content)


def test_checksum_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4, and its check value
    assert crc32c(bytes(32)) == 0x8A9136AA


# ---- damage ----


@pytest.mark.parametrize("place", [0, 100, 1500, -60, -44, -1])
def test_a_changed_byte_of_the_index_is_noticed(place, index):
    content = bytearray(index.read_bytes())
    content[place] ^= 0x40
    index.write_bytes(content)
    assert "Copy or download" in refused(index)


@pytest.mark.parametrize("size", [0, 4, 47, 100, 3000])
def test_a_short_index_is_refused(size, index):
    index.write_bytes(index.read_bytes()[:size])
    assert "cannot be read as the index" in refused(index)


def test_a_changed_value_is_noticed(index):
    content = bytearray(data_file(index).read_bytes())
    content[5000] ^= 1
    data_file(index).write_bytes(content)
    assert "its checksum is another" in refused(index)


def test_short_and_missing_data_files_are_refused(index):
    data_file(index).write_bytes(data_file(index).read_bytes()[:-1])
    assert "its data file is too short" in refused(index)
    data_file(index).unlink()
    assert "its data file is missing" in refused(index)


# ---- claims ----


def varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def block(entries: list[tuple[bytes, bytes]], shared: int = 0) -> bytes:
    body = b"".join(varint(shared) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    return body + struct.pack("<II", 0, 1)


def with_trailer(content: bytes, compression: int = 0) -> bytes:
    checked = content + bytes([compression])
    return checked + struct.pack("<I", tensor_bundle._masked(crc32c(checked)))


def written(path: Path, entries: list[tuple[bytes, bytes]], num_handles: int = 1, compression: int = 0) -> Path:
    """A table with honest checksums, whatever it claims."""
    data = block(entries)
    content = with_trailer(data, compression)
    index_offset = len(content)
    handles = block([(bytes([number + 1]), varint(0) + varint(len(data))) for number in range(num_handles)])
    content += with_trailer(handles)
    footer = varint(0) + varint(0) + varint(index_offset) + varint(len(handles))
    path.write_bytes(content + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))
    path.with_name(f"{path.stem}.data-00000-of-00001").write_bytes(bytes(64))
    return path


def entry(shape=(4,), dtype=1, shard=0, offset=0, size=16, checksum=None, more=b"") -> bytes:
    dimensions = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in shape))
    if checksum is None:
        checksum = tensor_bundle._masked(crc32c(bytes(16)))
    return (
        b"\x08" + varint(dtype) + b"\x12" + varint(len(dimensions)) + dimensions
        + b"\x18" + varint(shard) + b"\x20" + varint(offset) + b"\x28" + varint(size)
        + b"\x35" + struct.pack("<I", checksum) + more
    )  # fmt: skip


HEADER = (b"", b"\x08\x01")


def test_the_writer_of_these_tests_is_understood(tmp_path):
    bundle = TensorBundle(written(tmp_path / "x.index", [HEADER, (b"a", entry())]))
    assert torch.equal(bundle.read("a"), torch.zeros(4))


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"shape": (1 << 40,), "size": 1 << 42}, "too short"),
        ({"size": 1 << 42}, "not what its shape"),
        ({"shape": (1 << 62, 1 << 62)}, "not what its shape"),
        ({"shape": ((1 << 64) - 4,)}, "negative"),
        ({"offset": 1 << 60}, "too short"),
        ({"size": (1 << 64) - 16}, "negative"),
        ({"shard": 5}, "data file 5 of 1"),
        ({"dtype": 7}, "not supported"),
        ({"more": b"\x3a\x00"}, "in parts"),
        ({"checksum": 1}, "checksum"),
        ({"more": b"\x22"}, "no end"),
        ({"more": b"\x10\x01"}, "unknown kind"),
        ({"more": b"\x12\x02\x10\x01"}, "unknown kind"),
        ({"more": b"\x13"}, "unknown kind"),
        ({"more": b"\x3a\xff\xff\xff\x7f"}, "cut off"),
    ],
)
def test_a_claim_that_cannot_be_is_refused_without_memory(claim, message, tmp_path):
    index = written(tmp_path / "x.index", [HEADER, (b"a", entry(**claim))])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert message in refused(index)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@pytest.mark.parametrize("field", [1, 3, 4, 5, 6])
def test_a_field_of_another_kind_is_refused(field, tmp_path):
    message = bytes([field << 3 | 2, 1, 0]) + entry()
    assert "unknown kind" in refused(written(tmp_path / "x.index", [HEADER, (b"a", message)]))


def test_changed_entries_with_honest_checksums_are_read_or_refused(tmp_path):
    rng = random.Random(0)
    for _ in range(100):
        message = bytearray(entry(shape=(2, 2)))
        for _ in range(rng.choice((1, 2, 5))):
            message[rng.randrange(len(message))] = rng.randrange(256)
        try:
            bundle = TensorBundle(written(tmp_path / "x.index", [HEADER, (b"a", bytes(message))]))
            bundle.read("a")
        except ValueError as error:
            assert "cannot be read" in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": []}, "no header"),
        ({"entries": [HEADER, (b"b", entry()), (b"a", entry())]}, "not in order"),
        ({"entries": [HEADER, (b"a" * 2000, entry())]}, "longer than 1024"),
        ({"entries": [HEADER, (b"\xff", entry())]}, "utf-8"),
        ({"entries": [(b"", b"\x08\x01\x10\x01"), (b"a", entry())]}, "big-endian"),
        ({"entries": [HEADER, (b"a", entry())], "num_handles": 30}, "overlap|not in order"),
        ({"entries": [HEADER], "compression": 1}, "compressed"),
    ],
)
def test_a_dishonest_table_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        TensorBundle(written(tmp_path / "x.index", **change))


def test_a_huge_index_is_not_read(tmp_path):
    with open(tmp_path / "x.index", "wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(ValueError, match="larger than 16 MiB"):
        TensorBundle(tmp_path / "x.index")
