"""What the files of a model say of it, and how people open and call it."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from electra_plus.conversion.families import STOCK_CLASSES
from electra_plus.hub.carried_code import LOADERS, OLD_NAMES
from electra_plus.pipelines import task_of_class
from electra_plus.registration import HEADS


@dataclass(frozen=True)
class Use:
    """
    How a pipeline is called.

    Args:
        hub_task (`str`, *optional*): What the Hub calls the task; `None` where it has no name for it.
        call (`str`): The arguments, as Python, with `{text}` for a text.
        text (`str`): One, where the record has none.
        is_stock (`bool`): Whether transformers has the pipeline for native `electra`.
    """

    hub_task: str | None
    call: str = "{text}"
    text: str = "A text."
    is_stock: bool = True


USES = {
    "feature-extraction": Use("feature-extraction"),
    "fill-mask": Use("fill-mask", text="A [MASK] text."),
    "text-generation": Use("text-generation", text="A text"),
    "text-classification": Use("text-classification"),
    "token-classification": Use("token-classification"),
    "long-text-classification": Use("text-classification", text="A text of any length.", is_stock=False),
    "extractive-qa": Use("question-answering", 'question="Who?", context={text}', is_stock=False),
    "machine-translation": Use("translation", is_stock=False),
    "replaced-token-detection": Use(None, text="The chef ate the meal.", is_stock=False),
}
# Tasks of the Hub for which there is no pipeline.
CLASS_TAGS = {"ElectraPlusForMultipleChoice": "multiple-choice"}
NOT_FOR_ITSELF = ("ElectraPlusModel", "ElectraPlusForPreTraining", "ElectraPlusForMaskedLM")  # what people fine-tune


@dataclass
class ModelFacts:
    """
    What the files of a model say of it.

    Args:
        class_name (`str`): Of the model.
        parameters (`int`, *optional*): Numbers in its weight files; what is tied counts once. `None` is not known.
        fields (`dict`): Sizes, for the card's table.
        labels (`list[str]`): Of a classifier or tagger.
        has_code (`bool`): Whether the folder opens without this package.
        stock (`bool`): Whether it is native `electra`.
    """

    class_name: str
    parameters: int | None = None
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
        labels = list((config.get("id2label") or {}).values())
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        class_name = (written.get("architectures") or ["unknown"])[0]
        return cls(
            class_name=class_name,
            parameters=parameters,
            fields=sizes_of(config, class_name),
            labels=labels if "Classification" in class_name else [],
            has_code="auto_map" in written,
            stock=stock,
        )

    @property
    def own_class(self) -> str:
        """The class of this package that computes the same."""
        return {stock: own for own, stock in STOCK_CLASSES.items()}.get(self.class_name, self.class_name)

    @property
    def pipeline(self) -> str | None:
        """The pipeline of transformers or of this package that the model is for."""
        return task_of_class(self.own_class)

    @property
    def pipeline_tag(self) -> str | None:
        """The same as the Hub calls it."""
        return USES[self.pipeline].hub_task if self.pipeline in USES else CLASS_TAGS.get(self.own_class)


def sizes_of(config: dict[str, Any], class_name: str) -> dict[str, Any]:
    """Return the sizes in the content of a config.json that a card shows, of an encoder-decoder those of its encoder."""
    sizes = config.get("encoder") or config
    fields = {
        "flavour": sizes.get("flavour"),
        "layers": sizes.get("num_hidden_layers"),
        "width": sizes.get("hidden_size"),
        "attention heads": sizes.get("num_attention_heads"),
        "vocabulary": sizes.get("vocab_size"),
        "longest input": sizes.get("max_position_embeddings"),
    }
    generator = config.get("generator_config")
    # what was fine-tuned remembers a generator that it no longer has
    if class_name == "ElectraPlusForPreTraining" and isinstance(generator, dict):
        fields["generator"] = (
            f"{generator.get('model_type', 'electra_plus')}, {count(generator.get('num_hidden_layers'), 'layer')} of width "
            f"{generator.get('hidden_size')}"
        )
    return {name: value for name, value in fields.items() if value is not None}


def count(number: int | None, thing: str) -> str:
    """
    Return a number of things.

    >>> count(1, "layer"), count(3, "layer")
    ('1 layer', '3 layers')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def uses(facts: ModelFacts, name: str, text: str | None = None) -> str:
    """
    Return the markdown of how to open and call a model.

    Args:
        facts ([`ModelFacts`]): Of its files.
        name (`str`): What people open: `"owner/name"` or a folder.
        text (`str`, *optional*): What it is tried on. `None` is a word or two of English.
    """
    pipeline, use = facts.pipeline or "", USES.get(facts.pipeline or "")
    call = use.call.format(text=json.dumps(text or use.text, ensure_ascii=False)) if use else ""
    if facts.stock:
        calls = [f'transformers.pipeline("{pipeline}", model="{name}")({call})'] if use and use.is_stock else []
        return _python("import transformers", *calls, _opened(f"transformers.{facts.class_name}", name))
    calls = [f'electra_plus.pipeline("{pipeline}", model="{name}")({call})'] if use else []
    parts = [_python("import electra_plus\nimport transformers", *calls, _opened(_loader(facts), name))]
    if facts.class_name in NOT_FOR_ITSELF:
        command = f'electra-plus finetune --model "{name}" --train-file reviews.csv --output tuned'
        parts += ["To fine-tune it on a table of texts and labels:\n", f"```bash\n{command}\n```\n"]
    if facts.has_code:
        trusted = ", trust_remote_code=True"
        there = OLD_NAMES.get(pipeline, pipeline)
        calls = [f'transformers.pipeline("{there}", model="{name}"{trusted})({call})'] if use else []
        opened = _opened(_loader(facts, has_package=False), name, trusted)
        parts += ["Without electra_plus, by the code that is here:\n", _python("import transformers", *calls, opened)]
    return "\n".join(parts)


def _python(imports: str, *lines: str) -> str:
    return f"```python\n{imports}\n\n" + "\n".join(lines) + "\n```\n"


def _opened(loader: str, name: str, more: str = "") -> str:
    return f'model = {loader}.from_pretrained("{name}"{more})'


def _loader(facts: ModelFacts, has_package: bool = True) -> str:
    head = next((head for head in HEADS if head.class_name == facts.class_name), None)
    if head is not None and head.auto_class:
        return f"transformers.{head.auto_class}"
    if head is not None and has_package:
        return f"electra_plus.{head.class_name}"
    return f"transformers.{LOADERS.get(facts.pipeline or '', 'AutoModel')}"


__all__ = ["ModelFacts", "count", "sizes_of", "uses"]
