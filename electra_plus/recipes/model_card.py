"""The record and README.md of a fine-tuned model, from the figures of its run."""

from pathlib import Path
from typing import Any

from electra_plus.hub.callback import write_card
from electra_plus.hub.records import Dataset, Score, TrainingRecord, public_name


def write_model_card(folder: Path, figures: dict[str, Any]) -> None:
    """
    Write the card of a model that [`finetune`] made; what its trainer recorded stays in the record.

    Args:
        folder (`Path`): Of the model.
        figures (`dict`): What its `metrics.json` holds.
    """
    record = TrainingRecord.read(folder)
    sources = {name: public_name(source) for name, source in figures["data"].items()}
    record.task = figures["task"]
    record.base_model = public_name(figures["model"])
    record.datasets = [Dataset(source, name, figures["rows"][name]) for name, source in sources.items()]
    record.scores = [
        Score(sources[split], split, name, score["mean"], score["std"], len(figures["runs"]))
        for split in ("validation", "test")
        for name, score in (figures.get(split) or {}).items()
    ]
    seed = figures["best_seed"]
    chosen = f"The weights are those of seed {seed}, from the epoch with the best validation {figures['metric']}."
    record.remarks = [chosen]
    write_card(folder, record)
