"""Figures of an evaluation: written as json that is never half a file, and shown as a table."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from electra_plus.version import __version__

FIELDS = ("model", "weights", "suite", "data", "settings", "figures", "versions")  # of a result, in this order


def versions() -> dict[str, str]:
    """Return the versions that may move a figure."""
    import torch
    import transformers

    return {
        "electra_plus": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write_json(result: dict[str, Any], path: str | Path) -> None:
    """Write a result in one move: whoever reads the file, or stops the run, finds the old one or the new one whole."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(file)


def refuse_folder(path: str | Path | None, example: str) -> None:
    """Raise a ValueError if a folder stands where a file is to be written; `example` is a name for one."""
    if path is not None and Path(path).is_dir():
        raise ValueError(f"`--output` must be a file, got the folder {str(path)!r}. Give a name such as {example}.")


def read_result(path: str | Path, suite: str) -> dict[str, Any] | None:
    """
    Return the result that `path` holds, or `None` if there is no such file.

    Raises:
        ValueError: The path is a folder, or the file is something else than a result of this suite; it is left alone.
    """
    file = Path(path)
    refuse_folder(file, "figures.json")
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        result = None
    whole = isinstance(result, dict) and set(FIELDS) <= set(result)
    found = result["suite"] if whole else None
    if found != suite:
        holds = f"figures of the suite {found}" if found else "no figures of an evaluation"
        raise ValueError(f"`--output {path}` exists and holds {holds}, and is not overwritten. Give another name.")
    return result


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""
    Return a table for the terminal, the first column to the left, the others to the right.

    Example:

    >>> print(table(("task", "score"), [("cola", "0.31"), ("mean of all", "0.31")]))
    task         score
    -----------  -----
    cola          0.31
    mean of all   0.31
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])
