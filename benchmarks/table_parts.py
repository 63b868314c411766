"""What all tables are made with: results, and how figures are written."""

import json
import statistics
from pathlib import Path

FOLDER = Path(__file__).parent


def result(name: str) -> dict:
    """Read `results/<name>.json`."""
    return json.loads((FOLDER / "results" / f"{name}.json").read_text(encoding="utf-8"))


def on_machine(found: dict) -> str:
    """Say on what a result was measured."""
    machine = found["machine"]
    return (
        f"{machine['processor']}, {machine['threads']} threads, "
        f"torch {machine['torch']}, transformers {machine['transformers']}"
    )


def with_range(ratios: list[float]) -> str:
    """
    Median, least and most.

    >>> with_range([2.0, 1.0, 4.0])
    '2.00 (1.00 to 4.00)'
    """
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(set(values)) > 1 else "")
