"""What must not be published, and what must not be believed: tokens, pickles, names that leave their folder, false headers."""

import json
import re
from pathlib import Path

from huggingface_hub import get_token
from safetensors import SafetensorError, safe_open

from electra_plus.conversion.weights import is_plain_name

TOKEN_PATTERN = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b")
HIDDEN = "<token>"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
TEXTS = (".json", ".md", ".txt", ".py", ".yaml", ".yml", ".jinja", ".jsonl")
LARGEST_HEADER = 100_000_000  # bytes; what the safetensors library takes itself


def without_tokens(text: str, *tokens: str | None) -> str:
    """
    Return a text with what gives access to the Hub made unreadable.

    Args:
        text (`str`): Such as an error message.
        tokens (`str`, *optional*): To hide whatever they look like.

    Example:

    >>> without_tokens("refused hf_" + 30 * "a")
    'refused <token>'
    """
    for token in tokens:
        if token:
            text = text.replace(token, HIDDEN)
    return TOKEN_PATTERN.sub(HIDDEN, text)


def check_folder(folder: str | Path) -> None:
    """
    Refuse a folder that must not go to the Hub.

    Args:
        folder (`str` or `Path`): What would be uploaded.

    Raises:
        ValueError: A text file holds a token, a file is a pickle, a link or no whole safetensors file, or the index of a sharded
            model names a file elsewhere.
    """
    folder = Path(folder)
    own_token = get_token()
    for file in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            raise ValueError(f"`{name}` is a link, which would publish a file from elsewhere. Replace it by a copy.")
        if file.suffix in PICKLES:
            raise ValueError(
                f"`{name}` may hold code that runs when it is opened (a pickle). Publish weights as safetensors only."
            )
        if file.suffix == ".safetensors":
            check_safetensors(file)
        elif file.suffix in TEXTS:
            text = file.read_text(encoding="utf-8", errors="replace")
            if TOKEN_PATTERN.search(text) or (own_token and own_token in text):
                raise ValueError(
                    f"`{name}` holds a token of the Hub. Take it out, and withdraw it if others have seen it."
                )
        if name.endswith(".safetensors.index.json"):
            check_index(file)


def check_safetensors(file: str | Path) -> None:
    """
    Refuse a file that is no whole safetensors file, without reading more than its header.

    Raises:
        ValueError: The header is longer than the file or than the format allows, or the file is damaged.
    """
    file = Path(file)
    size = file.stat().st_size
    with file.open("rb") as opened:
        claimed = int.from_bytes(opened.read(8), "little")
    if size < 8 or claimed > min(size - 8, LARGEST_HEADER):
        raise ValueError(
            f"`{file.name}` is no whole safetensors file: its header claims {claimed:,} bytes, the file has {size:,}. Copy or "
            "download it again."
        )
    try:
        with safe_open(file, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"`{file.name}` is no whole safetensors file ({error}). Copy or download it again.") from error


def check_index(file: str | Path) -> None:
    """
    Refuse the index of a sharded model that names files outside its folder.

    Raises:
        ValueError: It is no index, or a name has folders in it.
    """
    file = Path(file)
    try:
        names = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"`{file.name}` is no index of a sharded model. Copy or download it again.") from error
    for name in sorted(map(str, names)):
        if not is_plain_name(name):
            raise ValueError(f"`{file.name}` names the file {name!r}, which is not beside it. Do not use this folder.")


__all__ = ["check_folder", "check_index", "check_safetensors", "without_tokens"]
