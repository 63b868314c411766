"""
The one table: which class serves which Auto class and which pipelines. A new head is one row here.

Importing transformers' model base class takes longer than importing `transformers.AutoModel` itself, so the Auto classes
first get stand-ins. The first use of any of them, or of a model class as `electra_plus.<name>`, loads the modelling files
and puts the real classes in their place. The tasks of our own pipelines are registered when `transformers.pipelines` is
imported, which takes longer still.
"""

import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

import transformers
from transformers import AutoConfig, AutoTokenizer

from electra_plus.models.configuration_electra_plus import ElectraPlusConfig


@dataclass(frozen=True)
class Head:
    """
    One row of the table.

    Args:
        class_name (`str`): The model class.
        module (`str`): The file in `electra_plus.models` that defines it.
        auto_class (`str` or `None`): Name of the class in `transformers` that loads it; `None` if none means this task.
        pipelines (`tuple[str, ...]`): Stock pipelines it serves.
    """

    class_name: str
    module: str
    auto_class: str | None
    pipelines: tuple[str, ...] = ()

    @property
    def model_class(self) -> type:
        """The class itself; importing it takes about a second the first time."""
        return load_model_classes()[self.class_name]


HEADS = (
    Head("ElectraPlusModel", "modeling_electra_plus", "AutoModel", ("feature-extraction",)),
    Head("ElectraPlusForPreTraining", "modeling_electra_plus_pretraining", "AutoModelForPreTraining"),
    Head("ElectraPlusForReplacedTokenDetection", "modeling_electra_plus_discriminator", None),
    Head("ElectraPlusForMaskedLM", "modeling_electra_plus_generator", "AutoModelForMaskedLM", ("fill-mask",)),
    Head("ElectraPlusForCausalLM", "modeling_electra_plus_causal", "AutoModelForCausalLM", ("text-generation",)),
    Head(
        "ElectraPlusForSequenceClassification",
        "modeling_electra_plus_heads",
        "AutoModelForSequenceClassification",
        ("text-classification", "zero-shot-classification"),
    ),
    Head(
        "ElectraPlusForTokenClassification",
        "modeling_electra_plus_heads",
        "AutoModelForTokenClassification",
        ("token-classification",),
    ),
    Head(
        "ElectraPlusForLongSequenceClassification",
        "modeling_electra_plus_long",
        "AutoModelForSequenceClassification",
        ("text-classification",),
    ),
    Head("ElectraPlusForQuestionAnswering", "modeling_electra_plus_heads", "AutoModelForQuestionAnswering"),
    Head("ElectraPlusForMultipleChoice", "modeling_electra_plus_heads", "AutoModelForMultipleChoice"),
)


def auto_map_for(class_name: str) -> dict[str, str]:
    """
    Return what `config.json` says to those who open a folder without this package: file and class for each Auto class.

    Args:
        class_name (`str`): The class whose weights the folder holds. Of several that an Auto class may give, it is taken.

    Example:

    >>> auto_map_for("ElectraPlusForLongSequenceClassification")["AutoModelForSequenceClassification"]
    'modeling_electra_plus_long.ElectraPlusForLongSequenceClassification'
    >>> auto_map_for("ElectraPlusModel")["AutoModelForSequenceClassification"]
    'modeling_electra_plus_heads.ElectraPlusForSequenceClassification'
    """
    auto_map = {"AutoConfig": f"configuration_electra_plus.{ElectraPlusConfig.__name__}"}
    for head in HEADS:
        # a detector alone has no Auto class; pretraining is what it came from
        name = head.auto_class or ("AutoModelForPreTraining" if head.class_name == class_name else None)
        if name is not None and (name not in auto_map or head.class_name == class_name):
            auto_map[name] = f"{head.module}.{head.class_name}"
    return auto_map


class _StandIn(type):
    """Metaclass of a class that becomes the model class of its name on first use."""

    def __getattr__(cls, name: str):
        if name.startswith("__"):  # inspection must not load anything
            raise AttributeError(name)
        return getattr(load_model_classes()[cls.__name__], name)

    def __call__(cls, *args, **kwargs):
        return load_model_classes()[cls.__name__](*args, **kwargs)


def _register_with_auto_classes(model_classes: dict[str, type]) -> None:
    for name in {head.auto_class for head in HEADS} - {None}:
        served = tuple(model_classes[head.class_name] for head in HEADS if head.auto_class == name)
        # of several, transformers takes the one that `config.architectures` names, else the first
        getattr(transformers, name).register(
            ElectraPlusConfig, served[0] if len(served) == 1 else served, exist_ok=True
        )


@cache
def load_model_classes() -> dict[str, type]:
    """Import the modelling files and return `{class name: class}`, the Auto classes now holding the real ones."""
    model_classes = {
        head.class_name: getattr(import_module(f"electra_plus.models.{head.module}"), head.class_name) for head in HEADS
    }
    model_classes["ElectraPlusModel"].__base__._complete_for_upload = staticmethod(_complete_for_upload)
    _register_with_auto_classes(model_classes)
    return model_classes


def _complete_for_upload(folder: str) -> None:
    import_module("electra_plus.hub.callback").complete_folder(folder)


class _AfterPipelines(MetaPathFinder):
    """Registers our pipelines right after the import of `transformers.pipelines`, once."""

    name = "transformers.pipelines"

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            import_module("electra_plus.pipelines")

        spec.loader.exec_module = execute_and_register
        return spec


def register() -> None:
    """Make transformers' Auto classes and pipelines know every row of the table. Calling it again changes nothing."""
    AutoConfig.register(ElectraPlusConfig.model_type, ElectraPlusConfig, exist_ok=True)
    # a folder with only a BERT vocab.txt names no tokenizer class; released ELECTRA uses BERT's
    AutoTokenizer.register(ElectraPlusConfig, tokenizer_class=transformers.BertTokenizer, exist_ok=True)
    stand_ins = {head.class_name: _StandIn(head.class_name, (), {"config_class": ElectraPlusConfig}) for head in HEADS}
    loaded = load_model_classes.cache_info().currsize > 0
    _register_with_auto_classes(load_model_classes() if loaded else stand_ins)
    if _AfterPipelines.name in sys.modules:
        import_module("electra_plus.pipelines")
    elif not any(isinstance(finder, _AfterPipelines) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterPipelines())
