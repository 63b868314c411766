"""Folders of checkpoints: read their configuration, find their files, write a new one completely or not at all."""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedConfig
from transformers.utils import cached_file

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
)


def read_config(name: str | Path, argument: str) -> dict:
    """
    Return the config.json of a folder or Hub repository as it is.

    Args:
        name (`str` or `Path`): Folder or Hub name.
        argument (`str`): What the caller's argument is called, for error messages.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is no valid JSON.
    """
    is_folder = Path(name).is_dir()
    if is_folder and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(
            f"`{argument}` must be a folder with a config.json, got {str(name)!r}, which has none. Give the folder that "
            "`save_pretrained` wrote."
        )
    try:
        return PreTrainedConfig.get_config_dict(str(name))[0]
    except (OSError, RecursionError) as error:
        if is_folder:
            raise ValueError(f"`{argument}`: {one_line(error)} Copy or download config.json again.") from error
        raise FileNotFoundError(
            f"`{argument}` must be a folder or the name of a model on the Hub, got {str(name)!r}, which is neither (or the "
            "Hub cannot be reached). Check the spelling."
        ) from error


def read_json(file: str | Path, argument: str) -> dict:
    """
    Return the JSON object in a file.

    Raises:
        ValueError: It holds something else.
    """
    try:
        fields = json.loads(Path(file).read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError(f"got {type(fields).__name__}")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`{argument}`: {str(file)!r} must hold a JSON object: {one_line(error)}. Copy it again."
        ) from error
    return fields


def file_of(name: str | Path, file: str) -> str | None:
    """Return the path of a file of a folder or Hub repository (downloaded if need be), `None` if it has no such file."""
    try:
        return cached_file(str(name), file)
    except OSError:
        return None


def copy_tokenizer(sources: list[str | Path], folder: Path) -> bool:
    """Copy the tokenizer's files of the first source that has any; return whether one has."""
    for source in sources:
        files = [path for path in (file_of(source, file) for file in TOKENIZER_FILES) if path]
        for file in files:
            shutil.copyfile(file, folder / Path(file).name)
        if files:
            return True
    return False


@contextmanager
def finished_folder(output_dir: str | Path, overwrite: bool, *sources: str | Path) -> Iterator[Path]:
    """
    Yield a path beside `output_dir` to write to; the folder written there is moved to `output_dir` if nothing failed.

    Until then an existing `output_dir` stays as it is, and after a failure nothing else is left.
    """
    output = Path(output_dir).resolve()
    if output.exists():
        refuse_file(output_dir)
        if any(output.iterdir()) and not overwrite:
            raise ValueError(
                f"`output_dir` must be new or empty, got {str(output_dir)!r}, which is not. Give another folder, or "
                "`overwrite=True` (`--overwrite`) to replace it with all it holds."
            )
        for kept in (*sources, Path.cwd(), Path.home()):
            if Path(kept).exists() and Path(kept).resolve().is_relative_to(output):
                raise ValueError(
                    f"`output_dir` ({str(output_dir)!r}) would be replaced, but it is or contains {str(kept)!r}, which must "
                    "stay. Give another folder."
                )
    suffix = secrets.token_hex(4)
    unfinished, replaced = (output.with_name(f".{output.name}.{word}-{suffix}") for word in ("new", "old"))
    try:
        yield unfinished
        if overwrite and output.exists():
            output.rename(replaced)
        elif output.exists():
            output.rmdir()  # refuses, should somebody have written there meanwhile
        try:
            unfinished.rename(output)
        except BaseException:
            if replaced.exists():
                replaced.rename(output)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def refuse_file(output_dir: str | Path) -> None:
    """Raise `ValueError` if `output_dir` is a file: transformers would only log that it saved nothing."""
    if Path(output_dir).is_file():
        raise ValueError(f"`output_dir` must be a folder, got {str(output_dir)!r}, which is a file. Give another name.")


def one_line(error: Exception) -> str:
    """Return what an error says without line breaks."""
    return " ".join(str(error).split())
