"""
Checkpoints of TensorFlow (`NAME.index` and `NAME.data-00000-of-00001`), read without TensorFlow.

The index is a sorted table of LevelDB's layout, of blocks with a checksum each; its entries say in protocol buffers what a
tensor is and where in a data file its bytes lie. Nothing is allocated by what a file claims: every size is checked against
the bytes that are there.

Source: tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/lib/io/format.cc, LevelDB's doc/table_format.md.
"""

import math
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch

from electra_plus.conversion.weights import TensorInfo

MAGIC = 0xDB4775248B80FB57
FOOTER_SIZE = 48
TRAILER_SIZE = 5  # a byte for the compression, four for the checksum
# Far more than a checkpoint needs (ELECTRA-Large has 1,500 tensors with its optimizer's), far less than memory.
MAX_INDEX_BYTES = 16 << 20
MAX_ENTRIES = 100_000
MAX_NAME_BYTES = 1024

# tensorflow/core/framework/types.proto; other kinds (strings, quantized numbers) are listed and never read
DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    19: torch.float16,
}


class TensorBundle:
    r"""
    The tensors of a TensorFlow checkpoint.

    Args:
        index (`Path`): The file that ends in `.index`; its data files lie beside it.

    Attributes:
        infos (`dict[str, TensorInfo]`): Shape and dtype by name, in the names' order.

    Raises:
        ValueError: The files are damaged, of another kind, or say of themselves what cannot be.
    """

    def __init__(self, index: Path):
        self.index = Path(index)
        if self.index.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"`{self.index}` is no index of a TensorFlow checkpoint: it is larger than 16 MiB.")
        try:
            entries = list(_table_entries(self.index.read_bytes()))
            if not entries or entries[0][0] != b"":
                raise _Damaged("it has no header")
            header = _fields(entries[0][1])
            self.num_shards = _number(header, 1)
            if _number(header, 2) != 0:
                raise _Damaged("it was written on a big-endian machine, which is not supported")
            self._entries = {key.decode("utf-8"): _Entry(value) for key, value in entries[1:]}
        except (_Damaged, UnicodeDecodeError) as error:
            raise ValueError(
                f"`{self.index}` cannot be read as the index of a TensorFlow checkpoint: {error}. Copy or download it again."
            ) from error
        self.infos = {name: TensorInfo(entry.shape, entry.dtype) for name, entry in self._entries.items()}

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor; its bytes are checked against its checksum."""
        entry = self._entries[name]
        file = self.index.with_name(f"{self.index.stem}.data-{entry.shard:05d}-of-{self.num_shards:05d}")
        try:
            if entry.dtype is None:
                raise _Damaged("it is of a kind that is not supported")
            if entry.is_partitioned:
                raise _Damaged("it is saved in parts, which is not supported")
            if not 0 <= entry.shard < self.num_shards:
                raise _Damaged(f"it should lie in data file {entry.shard} of {self.num_shards}")
            if entry.size != math.prod(entry.shape) * entry.dtype.itemsize:
                raise _Damaged(f"it has {entry.size} bytes, which is not what its shape {entry.shape} needs")
            if not file.is_file():
                raise _Damaged("its data file is missing")
            if entry.offset + entry.size > file.stat().st_size:
                raise _Damaged("its data file is too short")
            with open(file, "rb") as data:
                data.seek(entry.offset)
                content = bytearray(data.read(entry.size))
            if _masked(crc32c(content)) != entry.checksum:
                raise _Damaged("its checksum is another")
        except _Damaged as error:
            raise ValueError(
                f"`{file}`: tensor {name!r} cannot be read: {error}. Copy or download the checkpoint again."
            ) from error
        if not content:
            return torch.empty(entry.shape, dtype=entry.dtype)
        return torch.frombuffer(content, dtype=entry.dtype).reshape(entry.shape)


class _Damaged(Exception):
    """What is wrong; becomes a `ValueError` that names the file."""


class _Entry:
    """A `BundleEntryProto`."""

    def __init__(self, message: bytes):
        fields = _fields(message)
        self.dtype = DTYPES.get(_number(fields, 1))
        self.shape = tuple(
            _signed(_number(_fields(_bytes(dimension)), 1))
            for shape in fields.get(2, [])
            for dimension in _fields(_bytes(shape)).get(2, [])
        )
        self.shard, self.offset, self.size, self.checksum = (_number(fields, number) for number in (3, 4, 5, 6))
        self.is_partitioned = 7 in fields
        if any(length < 0 for length in self.shape) or self.offset >= 1 << 63 or self.size >= 1 << 63:
            raise _Damaged("a tensor of it has a negative size")


# ---- the table ----


def _table_entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values in order."""
    if len(content) < FOOTER_SIZE or struct.unpack("<Q", content[-8:])[0] != MAGIC:
        raise _Damaged("its last bytes are not a table's")
    footer = content[-FOOTER_SIZE:-8]
    place = 0
    for _ in range(2):
        _, place = _varint(footer, place)
    offset, place = _varint(footer, place)
    size, _ = _varint(footer, place)
    last, count = None, 0
    bytes_left = len(content)
    for _, handle in _block_entries(_block(content, offset, size)):
        block_offset, place = _varint(handle, 0)
        block_size, _ = _varint(handle, place)
        bytes_left -= block_size
        if bytes_left < 0:
            raise _Damaged("its blocks overlap")
        for key, value in _block_entries(_block(content, block_offset, block_size)):
            count += 1
            if last is not None and key <= last:
                raise _Damaged("its names are not in order")
            if count > MAX_ENTRIES:
                raise _Damaged(f"it has more than {MAX_ENTRIES:,} tensors")
            last = key
            yield key, value


def _block(content: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + TRAILER_SIZE > len(content) - FOOTER_SIZE:
        raise _Damaged("a block reaches beyond its end")
    compression, checksum = struct.unpack("<BI", content[end : end + TRAILER_SIZE])
    if _masked(crc32c(content[offset : end + 1])) != checksum:
        raise _Damaged("the checksum of a block is another")
    if compression != 0:
        raise _Damaged("a block is compressed, which is not supported")
    return content[offset:end]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise _Damaged("a block is too short")
    num_restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (num_restarts + 1)
    if end < 0:
        raise _Damaged("a block is too short")
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        added, place = _varint(block, place)
        value_size, place = _varint(block, place)
        if shared > len(key) or place + added + value_size > end:
            raise _Damaged("an entry reaches beyond its block")
        if shared + added > MAX_NAME_BYTES:
            raise _Damaged(f"a name is longer than {MAX_NAME_BYTES} bytes")
        key = key[:shared] + block[place : place + added]
        place += added
        yield key, block[place : place + value_size]
        place += value_size


# ---- protocol buffers ----


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, place
    raise _Damaged("a number has no end")


def _fields(message: bytes) -> dict[int, list]:
    """Return the values of each field by its number: integers, and bytes for texts and messages."""
    fields: dict[int, list] = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
        else:
            if kind == 2:
                size, place = _varint(message, place)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise _Damaged("an entry is of an unknown kind")
            value = message[place : place + size]
            if len(value) < size:
                raise _Damaged("an entry is cut off")
            if kind != 2:
                value = int.from_bytes(value, "little")
            place += size
        fields.setdefault(number, []).append(value)
    return fields


def _number(fields: dict[int, list], number: int) -> int:
    value = fields.get(number, [0])[0]
    if not isinstance(value, int):
        raise _Damaged("an entry is of an unknown kind")
    return value


def _bytes(value) -> bytes:
    if not isinstance(value, bytes):
        raise _Damaged("an entry is of an unknown kind")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


# ---- checksums ----


def crc32c(content: bytes) -> int:
    """
    Return the Castagnoli checksum of bytes.

    Long contents are cut into lanes that numpy takes a byte of each at a time: about 10 nanoseconds a byte on one core.

    Example:

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    data = np.frombuffer(content, dtype=np.uint8)
    num_lanes = 1 << min(15, len(data).bit_length() // 2)
    length = len(data) // num_lanes if len(data) >= 1 << 10 else 0
    state = 0xFFFFFFFF
    if length:
        lanes = np.zeros(num_lanes, dtype=np.uint32)
        table = _crc_table()
        for column in np.ascontiguousarray(data[: num_lanes * length].reshape(num_lanes, length).T):
            lanes = table[(lanes ^ column) & 0xFF] ^ (lanes >> 8)
        # a checksum is linear: that of two halves is the first's, moved over the second's length, plus the second's
        over = length
        while len(lanes) > 1:
            lanes = _moved(lanes[0::2], over) ^ lanes[1::2]
            over *= 2
        state = int(_moved(np.array([state], dtype=np.uint32), over)[0] ^ lanes[0])
    small_table = _crc_table().tolist()
    for byte in data[num_lanes * length :].tolist():
        state = small_table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def _masked(checksum: int) -> int:
    """Return a checksum as both formats store it, so that a checksum over checksums keeps its strength."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


@cache
def _zero_bytes(exponent: int) -> np.ndarray:
    """Return what 2**exponent zero bytes make of each bit of a checksum, of shape `(32,)`."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if exponent == 0:
        return _crc_table()[bits & 0xFF] ^ (bits >> 8)
    half = _zero_bytes(exponent - 1)
    return _times(half, half)


def _times(matrix: np.ndarray, states: np.ndarray) -> np.ndarray:
    result = np.zeros_like(states)
    for bit in range(32):
        result ^= np.where(states >> np.uint32(bit) & 1, matrix[bit], 0).astype(np.uint32)
    return result


def _moved(states: np.ndarray, num_bytes: int) -> np.ndarray:
    """Return the checksums `(num_states,)` after so many zero bytes more."""
    for exponent in range(num_bytes.bit_length()):
        if num_bytes >> exponent & 1:
            states = _times(_zero_bytes(exponent), states)
    return states


__all__ = ["TensorBundle", "crc32c"]
