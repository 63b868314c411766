"""The README.md of a repository: what a model is, how to use it, how well it does, what it was made from and at what cost."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from electra_plus.hub.model_facts import ModelFacts, count, uses
from electra_plus.hub.records import Dataset, Score, TrainingRecord

MARK = "<!-- Written by electra_plus. Delete this line, and what you change stays. -->"
# What a class is, for people who have not met its name.
KINDS = {
    "ElectraPlusModel": "An encoder of texts",
    "ElectraPlusForPreTraining": "A generator that replaces words and a discriminator that detects them",
    "ElectraPlusForReplacedTokenDetection": "A detector of replaced words",
    "ElectraPlusForMaskedLM": "A masked language model",
    "ElectraPlusForCausalLM": "A writer of next words",
    "ElectraPlusForSequenceClassification": "A classifier of texts",
    "ElectraPlusForLongSequenceClassification": "A classifier of texts of any length",
    "ElectraPlusForTokenClassification": "A tagger of words",
    "ElectraPlusForQuestionAnswering": "A finder of answers in a text",
    "ElectraPlusForMultipleChoice": "A chooser among answers",
    "EncoderDecoderModel": "A translator",
    "ElectraPlusEncoderDecoderModel": "A translator",
}
# What the names of scores mean, where people may not know; of a joint model, and of any.
DETECTION_METRICS = {
    "auc": "of the discriminator against its own generator; 0.5 is chance",
    "generator_loss": "nats a masked token; the lower it is, the harder is detection",
    "generator_accuracy": "fraction of the masked tokens that the generator finds likeliest",
    "discriminator_loss": "nats a token",
    "replaced_rate": "fraction of the tokens that were replaced",
}
METRICS = {
    "masked_lm_loss": "nats a masked token",
    "perplexity": "the exponential of the mean loss of a token in nats",
    "f1_macro": "mean over the classes",
    "matthews_correlation": "from -1 to 1; 0 is chance",
}
SOURCE = (
    'Clark, Luong, Le, Manning: "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020, '
    "https://arxiv.org/abs/2003.10555.\n"
)
# Limits of every model of a kind, which a card says unless the record knows better.
LIMITS = {
    "pretraining": "It was trained on words that are missing or replaced, not for a task of its own: fine-tune it first.",
    "text-generation": "What it writes sounds like its training text and may be wrong, unfair or both.",
    None: "It repeats what its training text holds, prejudices included. Try it on your own data before you rely on it.",
}


@dataclass
class Reproduction:
    """
    How to get a model that is published nowhere.

    Args:
        command (`str`): What trains it, a line or several.
        folder (`str`): Where that leaves it.
        remarks (`list[str]`): Sentences about it.
    """

    command: str
    folder: str
    remarks: list[str] = field(default_factory=list)


def written_by_us(card: str) -> bool:
    """Say whether a card may be written anew: nobody has claimed it."""
    return MARK in card


def render_card(record: TrainingRecord, facts: ModelFacts, name: str, reproduction: Reproduction | None = None) -> str:
    """
    Return the text of a model card, the head in YAML with scores as a `model-index`.

    Args:
        record ([`TrainingRecord`]): Of the training.
        facts ([`ModelFacts`]): Of the files.
        name (`str`): What people open: `"owner/name"` or a folder.
        reproduction ([`Reproduction`], *optional*):
            Of a model that is published nowhere: how to get it, and the folder that people then open. `name` is its title alone.

    Returns:
        `str`: markdown.
    """
    title = name.split("/")[-1]
    opened = reproduction.folder if reproduction else name
    parts = [
        f"---\n{card_data(record, facts, title).to_yaml()}\n---\n",
        "" if reproduction else f"{MARK}\n",
        f"# {one_line(title)}\n",
        _summary(record, facts),
        _table(("shape", "value"), [(key, _number(value)) for key, value in facts.fields.items()]),
        f"## How to get it\n\n{_reproduction(reproduction)}" if reproduction else "",
        f"## How to use it\n\n{uses(facts, opened, record.example)}",
        f"## How well it does\n\n{_scores(record, facts)}",
        f"## What it cannot do\n\n{_limits(record, facts)}",
        f"## What it was trained on\n\n{_datasets(record)}",
        f"## How it was trained\n\n{_training(record)}",
        f"## Licence\n\n{_licence(record, has_code=facts.has_code or reproduction is not None)}",
        f"## Source\n\n{SOURCE}",
    ]
    return "\n".join(part for part in parts if part)


def card_data(record: TrainingRecord, facts: ModelFacts, title: str) -> ModelCardData:
    """Return the head of a card, as the Hub reads it."""
    task = facts.pipeline_tag or "other"
    results = [
        EvalResult(
            task_type=task,
            dataset_type=_identifier(score.dataset),
            dataset_name=one_line(score.dataset),
            dataset_split=one_line(score.split),
            metric_type=_identifier(score.metric),
            metric_value=round(score.value, 4),
        )
        for score in record.scores
        if math.isfinite(score.value)
    ]
    tags = ["electra", *([] if facts.stock else ["electra_plus"]), *([one_line(record.task)] if record.task else [])]
    return ModelCardData(
        language=record.language,
        license=record.license,
        license_name=record.license_name,
        library_name="transformers",
        pipeline_tag=facts.pipeline_tag,
        tags=list(dict.fromkeys(tags)),
        base_model=record.base_model if _is_on_the_hub(record.base_model or "") else None,
        datasets=[dataset.name for dataset in record.datasets if _is_on_the_hub(dataset.name)] or None,
        model_name=one_line(title) if results else None,
        eval_results=results or None,
    )


def one_line(text: Any) -> str:
    """Return a text that cannot end a line, a table's cell or the head of a card."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<!--", "<! --")


def _identifier(name: str) -> str:
    """Return what the Hub may take for a data set or metric: a name of its own as it is."""
    return name if _is_on_the_hub(name) else re.sub(r"\W+", "_", name).strip("_").lower() or "unnamed"


def _is_on_the_hub(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(one_line(cell) for cell in line) + " |" for line in lines) + "\n"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _summary(record: TrainingRecord, facts: ModelFacts) -> str:
    kind = KINDS.get(facts.own_class, "A model")
    is_said = record.task in (None, "pretraining", facts.pipeline, facts.pipeline_tag)
    purpose = "" if is_said else f" for {one_line(record.task)}"
    size = "" if facts.parameters is None else f", {facts.parameters:,} parameters"
    made = f", started from {one_line(record.base_model)}" if record.base_model else ""
    lines = [f"{kind}{purpose} (`{facts.class_name}`{size}){made}."]
    if facts.labels:
        shown = ", ".join(one_line(label) for label in facts.labels[:20])
        lines.append(f"Labels: {shown}{' and more' if len(facts.labels) > 20 else ''}.")
    return "\n\n".join([*lines, *map(one_line, record.remarks)]) + "\n"


def _reproduction(reproduction: Reproduction) -> str:
    parts = [
        f"The weights are published nowhere and are no part of the package. This trains the model and leaves it in `{reproduction.folder}`:",
        f"```bash\n{reproduction.command}\n```",
        *map(one_line, reproduction.remarks),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(record: TrainingRecord, facts: ModelFacts) -> str:
    if not record.scores:
        return "Not measured.\n"
    rows = [(s.dataset, s.split, s.metric, _score(s), s.num_seeds) for s in record.scores]
    known = METRICS | (DETECTION_METRICS if facts.class_name == "ElectraPlusForPreTraining" else {})
    meanings = [
        f"- `{name}`: {known[name]}\n" for name in dict.fromkeys(s.metric for s in record.scores) if name in known
    ]
    remarks = [f"{one_line(remark)}\n" for remark in record.score_remarks]
    table = _table(("dataset", "split", "metric", "value", "seeds"), rows)
    return "\n".join(part for part in (table, *remarks, "".join(meanings)) if part)


def _score(score: Score) -> str:
    if abs(score.value) >= 1e6:
        return f"{score.value:.3g}"
    digits = 4 if abs(score.value) <= 1 else 2
    value = f"{score.value:.{digits}f}"
    return value if score.deviation is None else f"{value} ± {score.deviation:.{digits}f}"


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
        parts.append(
            _table(
                ("setting", "value"), [(name, _setting(name, value)) for name, value in record.hyperparameters.items()]
            )
        )
    machine = record.machine
    facts = []
    if record.num_steps is not None:
        facts.append(("optimizer steps", f"{record.num_steps:,}"))
    if record.seconds is not None:
        facts.append(("processor time" if record.clock == "processor" else "time", duration(record.seconds)))
    if record.flops:
        facts.append(("operations", f"{record.flops:.2g}"))
    if machine.get("device"):
        facts.append(("device", f"{machine.get('num_devices', 1)} x {machine['device']}"))
    elif machine.get("processor"):
        threads = f", {count(machine['threads'], 'thread')}" if "threads" in machine else ""
        facts.append(("processor", f"{machine['processor']}{threads}"))
    if record.energy_kwh is not None:
        facts.append(
            (
                "energy, estimated",
                f"{_energy(record.energy_kwh)} ({machine['watts']} W for the busy parts, by their makers' figures)",
            )
        )
    if machine.get("versions"):
        facts.append(("versions", ", ".join(f"{name} {number}" for name, number in machine["versions"].items())))
    parts.append(_table(("run", "value"), facts))
    return "\n".join(part for part in parts if part) or "Not recorded.\n"


def _setting(name: str, value: Any) -> str:
    is_share = name == "warmup_steps" and 0 < value < 1
    return f"{value:g} of the steps" if is_share else _number(value)


def _energy(kilowatt_hours: float) -> str:
    if kilowatt_hours < 1e-4:
        return "under 0.0001 kWh"
    return f"{kilowatt_hours:.1f} kWh" if kilowatt_hours >= 10 else f"{kilowatt_hours:.2g} kWh"


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
        general.append(
            f"It was trained on texts in these languages, and for no others: {', '.join(map(one_line, languages))}."
        )
    return "\n".join(f"- {one_line(line)}" for line in [*record.limits, *general, LIMITS[None]]) + "\n"


def _licence(record: TrainingRecord, has_code: bool) -> str:
    if not record.license:
        return "None is given. Ask whoever published it before you use it.\n"
    named = f" ({one_line(record.license_name)})" if record.license_name else ""
    code = "; the code, electra_plus: apache-2.0" if has_code else ""
    return f"The weights: {one_line(record.license)}{named}{code}.\n"


__all__ = ["Dataset", "ModelFacts", "Reproduction", "Score", "TrainingRecord", "render_card", "written_by_us"]
