"""The README.md of a fine-tuned model: what it does, on what it was trained, and how well it does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

# a use that runs, for each task
USES = {
    "text-classification": 'electra_plus.pipeline("text-classification", model="{folder}")("A text.")',
    "multi-label-classification": 'electra_plus.pipeline("text-classification", model="{folder}", top_k=None)("A text.")',
    "regression": 'electra_plus.pipeline("text-classification", model="{folder}", function_to_apply="none")("A text.")',
    "token-classification": 'electra_plus.pipeline("token-classification", model="{folder}")("A text.")',
    "question-answering": 'electra_plus.pipeline("question-answering", model="{folder}")(question="Who?", context="A text.")',
    "text-generation": 'electra_plus.pipeline("text-generation", model="{folder}")("A text")',
}


def write_model_card(
    folder: Path,
    figures: dict[str, Any],
    pipeline: str | None = None,
    metrics: Sequence[str] = (),
    carries_code: bool = False,
) -> None:
    """
    Write the card of a model that [`finetune`] made.

    Args:
        folder (`Path`): Of the model.
        figures (`dict`): What its `metrics.json` holds.
        pipeline (`str`, *optional*): The task as the Hub calls it, `None` if it has no name there.
        metrics (`Sequence[str]`, *optional*): Those that the Hub shall list.
        carries_code (`bool`, *optional*, defaults to `False`): Whether the folder opens without this package.
    """
    sources = {name: _without_folders(source) for name, source in figures["data"].items()}
    results = []
    for split in ("validation", "test"):
        for name, score in figures.get(split, {}).items():
            if name in metrics:
                results.append(
                    EvalResult(
                        task_type=pipeline or figures["task"],
                        dataset_type=sources[split],
                        dataset_name=sources[split],
                        dataset_split=split,
                        metric_type=name,
                        metric_value=round(score["mean"], 4),
                    )
                )
    base = figures["model"]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["electra_plus", "electra", figures["task"]],
        base_model=None if Path(base).exists() else base,  # the Hub takes no paths
        model_name=folder.resolve().name,
        eval_results=results or None,
    )
    lines = [
        f"# {folder.resolve().name}",
        "",
        f"{_without_folders(base)}, fine-tuned for {figures['task']} with electra_plus.",
        "",
        "| | rows | from |",
        "|---|---:|---|",
        *(f"| {name} | {figures['rows'][name]:,} | {source} |" for name, source in sources.items()),
        "",
        f"Scores of {_seeds(figures)}:",
        "",
        "| | metric | mean | deviation |",
        "|---|---|---:|---:|",
    ]
    for split in ("validation", "test"):
        for name, score in (figures.get(split) or {}).items():
            spread = "" if score["std"] is None else f"{score['std']:.4f}"
            lines.append(f"| {split} | {name} | {score['mean']:.4f} | {spread} |")
    lines += [
        "",
        f"The weights are those of seed {figures['best_seed']}, from the epoch with the best validation {figures['metric']}.",
    ]
    if figures["labels"]:
        lines += ["", f"Labels: {', '.join(figures['labels'])}."]
    use = USES.get(figures["task"], "").format(folder=folder.resolve().name)
    command = f"electra-plus predict --model {folder.resolve().name} --input rows.jsonl --output predictions.jsonl"
    lines += ["", "```bash", command, "```"]
    if use:
        lines += ["", "```python", "import electra_plus", "", use, "```"]
    if carries_code:
        lines += [
            "",
            "The folder carries its code: with `trust_remote_code=True` transformers opens it without electra_plus.",
        ]
    if carries_code and pipeline:
        opened = f'transformers.pipeline("{pipeline}", model="{folder.resolve().name}", trust_remote_code=True)'
        lines += ["", "```python", "import transformers", "", opened, "```"]
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines) + "\n")
    aside = folder / ".README.md.new"
    card.save(aside)
    aside.replace(folder / "README.md")


def _without_folders(name: str) -> str:
    """Return the last part of a path, which is nobody's business but the author's; names on the Hub stay."""
    return Path(name).name if Path(name).exists() else name


def _seeds(figures: dict[str, Any]) -> str:
    seeds = list(figures["runs"])
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"
