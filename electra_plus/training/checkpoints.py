"""Checkpoints that are complete or not there: written aside, with checksums, and checked before use."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from transformers.utils import logging

logger = logging.get_logger(__name__)

MANIFEST = "manifest.json"
UNFINISHED = ".unfinished"  # folder beside the checkpoints, in which the next one is written
_NAME = re.compile(r"^checkpoint-(\d+)$")


def checkpoint_folders(output_dir: str | Path) -> list[Path]:
    """Return the folders `checkpoint-<step>` of a run, the latest first."""
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        return []
    found = {
        int(match[1]): path for path in output_dir.iterdir() if path.is_dir() and (match := _NAME.match(path.name))
    }
    return [found[step] for step in sorted(found, reverse=True)]


def write_manifest(folder: Path) -> None:
    """Write the sizes and checksums of a folder's files into its `manifest.json`, all of it to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    entries = {}
    for path in files:
        entries[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        _to_disk(path)
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": entries}, indent=1) + "\n", encoding="utf-8")
    _to_disk(manifest)
    for directory in {path.parent for path in [*files, manifest]}:
        _to_disk(directory)


def what_is_wrong(folder: str | Path) -> str | None:
    """Return why a checkpoint cannot be trusted, in a few words, or `None` if every file is as it was written."""
    folder = Path(folder)
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"it has no {MANIFEST}"
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        wanted = {name: (entry["bytes"], entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"its {MANIFEST} cannot be read"
    for name, (size, checksum) in wanted.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if _sha256(path) != checksum:
            return f"{name} has changed since it was written"
    return None


def last_good_checkpoint(output_dir: str | Path) -> Path | None:
    """Return the latest checkpoint whose files are as they were written; say which later ones are not."""
    for folder in checkpoint_folders(output_dir):
        wrong = what_is_wrong(folder)
        if wrong is None:
            return folder
        logger.warning(f"`{folder}` is left out: {wrong}. Looking for the checkpoint before it.")
    return None


def publish(unfinished: Path, final: Path) -> None:
    """Move a finished checkpoint to its place; one that is there already is replaced, and is whole until then."""
    replaced = unfinished.with_name(f"{final.name}.replaced")
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    unfinished.rename(final)
    _to_disk(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, where the system can do that."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder on Windows, which has no such call
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
