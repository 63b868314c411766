"""The README.md of a repository: what a model is, how to use it, how well it does, what it was made from and at what cost."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from safetensors import safe_open

from electra_plus.conversion.families import STOCK_CLASSES
from electra_plus.hub.records import Dataset, Score, TrainingRecord
from electra_plus.pipelines import task_of_class
from electra_plus.registration import HEADS

MARK = "<!-- Written by electra_plus. Delete this line, and what you change stays. -->"
# The Hub's names for tasks where transformers' pipelines have none or others.
HUB_TASKS = {
    "extractive-qa": "question-answering",
    "machine-translation": "translation",
    "long-text-classification": "text-classification",
    "replaced-token-detection": None,
}
CLASS_TAGS = {"ElectraPlusForMultipleChoice": "multiple-choice"}
# A call for each pipeline.
CALLS = {
    "feature-extraction": '("A text.")',
    "fill-mask": '("A [MASK] text.")',
    "text-generation": '("A text")',
    "text-classification": '("A text.")',
    "long-text-classification": '("A text of any length.")',
    "token-classification": '("A text.")',
    "extractive-qa": '(question="Who?", context="A text.")',
    "machine-translation": '("A text.")',
    "replaced-token-detection": '("The chef ate the meal.")',
}
# Limits of every model of a kind, which a card says unless the record knows better.
LIMITS = {
    "pretraining": "It was trained to fill in and detect words, not for a task of its own: fine-tune it first.",
    "text-generation": "What it writes sounds like its training text and may be wrong, unfair or both.",
    None: "It repeats what its training text holds, prejudices included. Try it on your own data before you rely on it.",
}


@dataclass
class ModelFacts:
    """
    What the files of a model say of it.

    Args:
        class_name (`str`): Of the model.
        parameters (`int`): Numbers in its weight files; what is tied counts once.
        fields (`dict`): Sizes, for the card's table.
        labels (`list[str]`): Of a classifier or tagger.
        has_code (`bool`): Whether the folder opens without this package.
        stock (`bool`): Whether it is native `electra`.
    """

    class_name: str
    parameters: int
    fields: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    has_code: bool = False
    stock: bool = False

    @classmethod
    def of_folder(cls, folder: str | Path, config: dict[str, Any], stock: bool = False) -> "ModelFacts":
        """Read a folder that [`~electra_plus.save_for_hub`] is writing; `config` is the model's own, before `stock` changed it."""
        folder = Path(folder)
        parameters = 0
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="numpy") as tensors:
                parameters += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        sizes = config.get("encoder") or config
        fields = {
            "flavour": sizes.get("flavour"),
            "layers": sizes.get("num_hidden_layers"),
            "width": sizes.get("hidden_size"),
            "attention heads": sizes.get("num_attention_heads"),
            "vocabulary": sizes.get("vocab_size"),
            "longest input": sizes.get("max_position_embeddings"),
        }
        if isinstance(generator := config.get("generator_config"), dict):
            fields["generator"] = (
                f"{generator.get('model_type', 'electra_plus')}, {generator.get('num_hidden_layers')} layers of width "
                f"{generator.get('hidden_size')}"
            )
        labels = list((config.get("id2label") or {}).values())
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        class_name = (written.get("architectures") or ["unknown"])[0]
        return cls(
            class_name=class_name,
            parameters=parameters,
            fields={name: value for name, value in fields.items() if value is not None},
            labels=labels if "Classification" in class_name else [],
            has_code="auto_map" in written,
            stock=stock,
        )

    @property
    def pipeline(self) -> str | None:
        """The pipeline of transformers or of this package that the model is for."""
        ours = {stock: own for own, stock in STOCK_CLASSES.items()}.get(self.class_name, self.class_name)
        return task_of_class(ours)

    @property
    def pipeline_tag(self) -> str | None:
        """The same as the Hub calls it."""
        if self.class_name in CLASS_TAGS:
            return CLASS_TAGS[self.class_name]
        return HUB_TASKS.get(self.pipeline, self.pipeline)


def written_by_us(card: str) -> bool:
    """Say whether a card may be written anew: nobody has claimed it."""
    return MARK in card


def render_card(record: TrainingRecord, facts: ModelFacts, name: str) -> str:
    """
    Return the text of a model card, the head in YAML with scores as a `model-index`.

    Args:
        record ([`TrainingRecord`]): Of the training.
        facts ([`ModelFacts`]): Of the files.
        name (`str`): What people open: `"owner/name"` or a folder.

    Returns:
        `str`: markdown.
    """
    title = name.split("/")[-1]
    parts = [
        f"---\n{card_data(record, facts, title).to_yaml()}\n---\n\n{MARK}\n",
        f"# {one_line(title)}\n",
        _summary(record, facts),
        _table(("", ""), [(key, _number(value)) for key, value in facts.fields.items()]),
        f"## How to use it\n\n{_uses(facts, name)}",
        f"## How well it does\n\n{_scores(record)}",
        f"## What it was trained on\n\n{_datasets(record)}",
        f"## How it was trained\n\n{_training(record)}",
        f"## What it cannot do\n\n{_limits(record, facts)}",
        f"## Licence\n\n{_licence(record)}",
        "## Source\n\nClark, Luong, Le, Manning: \"ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators\", "
        "ICLR 2020, https://arxiv.org/abs/2003.10555.\n",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def card_data(record: TrainingRecord, facts: ModelFacts, title: str) -> ModelCardData:
    """Return the head of a card, as the Hub reads it."""
    task = facts.pipeline_tag or "other"
    results = [
        EvalResult(
            task_type=task,
            dataset_type=one_line(score.dataset),
            dataset_name=one_line(score.dataset),
            dataset_split=one_line(score.split),
            metric_type=one_line(score.metric),
            metric_value=round(score.value, 4),
        )
        for score in record.scores
        if math.isfinite(score.value)
    ]
    tags = ["electra", *([] if facts.stock else ["electra_plus"]), *([one_line(record.task)] if record.task else [])]
    return ModelCardData(
        language=record.language,
        license=record.license,
        library_name="transformers",
        pipeline_tag=facts.pipeline_tag,
        tags=list(dict.fromkeys(tags)),
        base_model=one_line(record.base_model) if record.base_model and "/" in record.base_model else None,
        datasets=[one_line(dataset.name) for dataset in record.datasets if "/" in dataset.name] or None,
        model_name=one_line(title) if results else None,
        eval_results=results or None,
    )


def one_line(text: Any) -> str:
    """Return a text that cannot end a line, a table's cell or the head of a card."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<!--", "<! --")


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(one_line(cell) for cell in line) + " |" for line in lines) + "\n"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _summary(record: TrainingRecord, facts: ModelFacts) -> str:
    made = f", made from {one_line(record.base_model)}" if record.base_model else ""
    purpose = f" for {one_line(record.task)}" if record.task else ""
    lines = [f"`{facts.class_name}`{purpose}{made}: {facts.parameters:,} parameters."]
    if facts.labels:
        shown = ", ".join(one_line(label) for label in facts.labels[:20])
        lines.append(f"Labels: {shown}{' and more' if len(facts.labels) > 20 else ''}.")
    return "\n\n".join([*lines, *map(one_line, record.remarks)]) + "\n"


def _uses(facts: ModelFacts, name: str) -> str:
    auto = next((head.auto_class for head in HEADS if head.class_name == facts.class_name), None)
    pipeline, call = facts.pipeline, CALLS.get(facts.pipeline or "")
    blocks = []
    if facts.stock:
        if facts.pipeline_tag and call and pipeline in ("fill-mask", "text-classification", "token-classification", "feature-extraction", "text-generation"):  # fmt: skip
            blocks.append(f'transformers.pipeline("{pipeline}", model="{name}"){call}')
        blocks.append(f'model = transformers.{facts.class_name}.from_pretrained("{name}")')
        return "```python\nimport transformers\n\n" + "\n".join(blocks) + "\n```\n"
    if call:
        blocks.append(f'electra_plus.pipeline("{pipeline}", model="{name}"){call}')
    if auto:
        blocks.append(f'model = transformers.{auto}.from_pretrained("{name}")')
    elif hasattr(facts, "class_name") and facts.class_name.startswith("ElectraPlus"):
        blocks.append(f'model = electra_plus.{facts.class_name}.from_pretrained("{name}")')
    text = "```python\nimport electra_plus\nimport transformers\n\n" + "\n".join(blocks) + "\n```\n"
    if facts.has_code:
        opened = []
        if call:
            tag = HUB_TASKS.get(pipeline, pipeline) if pipeline not in ("long-text-classification", "replaced-token-detection") else pipeline  # fmt: skip
            opened.append(f'transformers.pipeline("{tag}", model="{name}", trust_remote_code=True){call}')
        opened.append(
            f'model = transformers.{auto or "AutoModelForPreTraining"}.from_pretrained("{name}", trust_remote_code=True)'
        )
        text += "\nWithout electra_plus, by the code that is here:\n\n```python\nimport transformers\n\n" + "\n".join(opened) + "\n```\n"  # fmt: skip
    return text


def _scores(record: TrainingRecord) -> str:
    if not record.scores:
        return "Not measured.\n"
    rows = [(s.dataset, s.split, s.metric, _score(s), s.num_seeds) for s in record.scores]
    return _table(("dataset", "split", "metric", "value", "seeds"), rows)


def _score(score: Score) -> str:
    value = f"{score.value:.4f}".rstrip("0").rstrip(".") if abs(score.value) < 1e6 else f"{score.value:.3g}"
    return value if score.deviation is None else f"{value} ± {score.deviation:.4f}"


def _datasets(record: TrainingRecord) -> str:
    if not record.datasets:
        return "Not recorded.\n"
    rows = [
        (d.name, d.split, "" if d.rows is None else f"{d.rows:,}", d.license or "not recorded") for d in record.datasets
    ]
    return _table(("dataset", "split", "rows", "licence"), rows)


def _training(record: TrainingRecord) -> str:
    parts = []
    if record.hyperparameters:
        parts.append(_table(("setting", "value"), [(name, value) for name, value in record.hyperparameters.items()]))
    machine = record.machine
    facts = []
    if record.num_steps is not None:
        facts.append(("optimizer steps", f"{record.num_steps:,}"))
    if record.seconds is not None:
        facts.append(("time", duration(record.seconds)))
    if record.flops:
        facts.append(("operations", f"{record.flops:.2g}"))
    if machine.get("device"):
        facts.append(("device", f"{machine.get('num_devices', 1)} x {machine['device']}"))
    elif machine.get("processor"):
        facts.append(("processor", f"{machine['processor']}, {machine.get('threads', '?')} threads"))
    if record.energy_kwh is not None:
        facts.append(
            (
                "energy, estimated",
                f"{_small(record.energy_kwh)} kWh ({machine['watts']} W for the busy parts, by their makers' figures)",
            )
        )
    if machine.get("versions"):
        facts.append(("versions", ", ".join(f"{name} {number}" for name, number in machine["versions"].items())))
    parts.append(_table(("", ""), facts))
    return "\n".join(part for part in parts if part) or "Not recorded.\n"


def _small(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """
    Return seconds in words.

    Example:

    >>> duration(42), duration(150), duration(9000)
    ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"


def _limits(record: TrainingRecord, facts: ModelFacts) -> str:
    general = [LIMITS[record.task]] if record.task in LIMITS and record.task else []
    if facts.class_name == "ElectraPlusForPreTraining" and not general:
        general = [LIMITS["pretraining"]]
    languages = record.language if isinstance(record.language, list) else [record.language]
    if languages != [None]:
        general.append(f"It knows the languages it was trained on: {', '.join(map(one_line, languages))}.")
    return "\n".join(f"- {one_line(line)}" for line in [*record.limits, *general, LIMITS[None]]) + "\n"


def _licence(record: TrainingRecord) -> str:
    if not record.license:
        return "None is given. Ask whoever published it before you use it.\n"
    return f"{one_line(record.license)}\n"


__all__ = ["Dataset", "ModelFacts", "Score", "TrainingRecord", "render_card", "written_by_us"]
