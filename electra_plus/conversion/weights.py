"""
Files of weights: names, shapes and dtypes first, tensors one by one.

safetensors are read by their library, which checks a header before it allocates anything. Files of `torch.save` are read with
`weights_only=True` and no other way: they can hold tensors and plain values, and whatever would run code is refused.
"""

import json
import pickle
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open

from electra_plus.conversion.archives import refuse_growth
from electra_plus.folders import file_of, one_line

PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt")
# Names in the header of a safetensors file.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# Where trainers put the weights beside other things: fastai ('model'), Lightning, and many loops of one's own.
STATE_DICT_KEYS = ("model", "state_dict", "model_state_dict", "module")


class TensorInfo(NamedTuple):
    """What is known of a tensor before it is read; `dtype` is `None` where torch has none such."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None


def dtype_name(info: TensorInfo) -> str:
    """Return what a dtype is called in tables."""
    return str(info.dtype).removeprefix("torch.") if info.dtype is not None else "no numbers"


class Weights(Protocol):
    """Tensors by name: `infos` before anything is read, `read` for one of them."""

    infos: dict[str, TensorInfo]

    def read(self, name: str) -> torch.Tensor: ...


class SafetensorsWeights:
    """The tensors of safetensors files, of which each has names of its own."""

    def __init__(self, files: list[Path]):
        self.infos: dict[str, TensorInfo] = {}
        self._file_of: dict[str, Path] = {}
        for file in files:
            with _reading(file), safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    part = tensors.get_slice(name)
                    self.infos[name] = TensorInfo(tuple(part.get_shape()), DTYPES.get(part.get_dtype()))
                    self._file_of[name] = file

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        file = self._file_of[name]
        with _reading(file), safe_open(file, framework="pt") as tensors:
            return tensors.get_tensor(name)


class TensorsInMemory:
    """Tensors that were read already."""

    def __init__(self, tensors: dict[str, torch.Tensor]):
        self._tensors = tensors
        self.infos = {name: TensorInfo(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        return self._tensors[name]


class _reading:
    """Turn what goes wrong while a file is read into one line that names it."""

    def __init__(self, file: Path):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, (SafetensorError, OSError)):
            raise ValueError(
                f"Weights in `{self.file}` cannot be read: {one_line(error)}. Copy or download the file again."
            ) from error


def weights_of_folder(name: str | Path, argument: str) -> Weights:
    """
    Return the weights of a folder or Hub repository that transformers wrote.

    Args:
        name (`str` or `Path`): Folder or Hub name.
        argument (`str`): What the caller's argument is called, for error messages.

    Raises:
        FileNotFoundError: It has none.
        ValueError: They are damaged, or a list of shards names files elsewhere.
    """
    if files := _listed(name, argument, "model.safetensors"):
        return SafetensorsWeights(files)
    if files := _listed(name, argument, "pytorch_model.bin"):
        tensors: dict[str, torch.Tensor] = {}
        for file in files:
            tensors.update(read_state_dict(file))
        return TensorsInMemory(tensors)
    raise FileNotFoundError(
        f"`{argument}` must hold weights, got {str(name)!r} without model.safetensors and without pytorch_model.bin. Copy "
        "or download them as well."
    )


def weights_of_file(file: Path) -> Weights:
    """Return the weights of a file that ends in .safetensors, or of one that `torch.save` wrote."""
    return SafetensorsWeights([file]) if file.suffix == ".safetensors" else TensorsInMemory(read_state_dict(file))


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """
    Return the tensors in a file of `torch.save`, without running anything that it holds.

    Raises:
        ValueError: It holds something else than tensors and plain values, or no tensors, or is damaged.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as opened:
            refuse_growth(file, opened.infolist())
    try:
        with torch.serialization.safe_globals([(_PlainList, "fastcore.foundation.L")]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's message is long and proposes to load it unsafely
        what = next((line for line in str(error).splitlines() if "GLOBAL" in line or "nsupported" in line), "")
        raise ValueError(
            f"`{file}` holds more than tensors and plain values, which may run any code when it is opened, or is damaged: refused"
            f"{' (' + what.strip()[:200] + ')' if what else ''}. If you trust where it comes from, open it where it was made and "
            "save its weights alone: `torch.save(model.state_dict(), file)` or `save_pretrained`."
        ) from error
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"Weights in `{file}` cannot be read: {one_line(error)[:200]}. Copy or download the file again."
        ) from error
    for key in STATE_DICT_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = content.items() if isinstance(content, dict) else ()
    tensors = {name: tensor for name, tensor in tensors if isinstance(name, str) and isinstance(tensor, torch.Tensor)}
    if not tensors:
        raise ValueError(
            f"`{file}` must hold a dictionary of tensors (or one under {', '.join(map(repr, STATE_DICT_KEYS))}), got "
            f"{type(content).__name__} without any. Save the model's `state_dict()`."
        )
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.untyped_storage().nbytes() < tensor.nbytes:
            raise ValueError(
                f"`{file}`: {name!r} claims to be {tuple(tensor.shape)}, which is more than the file holds of it: refused. Save the "
                "model's `state_dict()` with dense tensors."
            )
    return tensors


class _PlainList:
    """Stands for fastai's list type, which its optimizers' states hold; nothing of them is used."""


def _listed(name: str | Path, argument: str, file: str) -> list[Path]:
    """Return the file, or the shards that its list names; none if the folder has neither."""
    if (whole := file_of(name, file)) is not None:
        return [Path(whole)]
    if (index := file_of(name, f"{file}.index.json")) is None:
        return []
    try:
        shards = sorted(set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(
            f"`{argument}`: `{index}` is no list of weight files ({one_line(error)}). Copy or download it again."
        ) from error
    for shard in shards:
        if not is_plain_name(shard):
            raise ValueError(
                f"`{argument}`: `{index}` names {shard!r}, which is not in its folder: refused. A list of weight files may "
                "only name files beside it. Get the checkpoint where you trust it."
            )
    found = [(shard, file_of(name, shard)) for shard in shards]
    if lacking := [shard for shard, path in found if path is None]:
        raise ValueError(
            f"`{argument}`: `{index}` names {lacking[0]!r}, which is missing. Copy or download it as well."
        )
    return [Path(path) for _, path in found]


def is_plain_name(name) -> bool:
    """Whether a text is the name of a file and no path, on any system."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and PurePosixPath(name).name == name
        and PureWindowsPath(name).name == name
        and "\0" not in name
    )


__all__ = [
    "SafetensorsWeights",
    "TensorInfo",
    "TensorsInMemory",
    "Weights",
    "dtype_name",
    "is_plain_name",
    "read_state_dict",
    "weights_of_file",
    "weights_of_folder",
]
