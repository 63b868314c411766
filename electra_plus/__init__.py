"""
electra_plus: pretrain, fine-tune and publish ELECTRA models inside the Hugging Face ecosystem.

Importing the package registers its models with transformers' Auto classes. Models, training and data tools load on first
use, so the import itself stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.registration import HEADS, load_model_classes, register
from electra_plus.version import __version__

if TYPE_CHECKING:  # what editors and type checkers see; at run time `__getattr__` does the same
    from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
    from electra_plus.data.packing import DataCollatorForPacking
    from electra_plus.hub import push_to_hub, save_for_hub
    from electra_plus.models.modeling_electra_plus import ElectraPlusModel
    from electra_plus.models.modeling_electra_plus_causal import ElectraPlusForCausalLM
    from electra_plus.models.modeling_electra_plus_discriminator import ElectraPlusForReplacedTokenDetection
    from electra_plus.models.modeling_electra_plus_generator import ElectraPlusForMaskedLM
    from electra_plus.models.modeling_electra_plus_heads import (
        ElectraPlusForMultipleChoice,
        ElectraPlusForQuestionAnswering,
        ElectraPlusForSequenceClassification,
        ElectraPlusForTokenClassification,
    )
    from electra_plus.models.modeling_electra_plus_long import ElectraPlusForLongSequenceClassification
    from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining
    from electra_plus.pipelines import pipeline
    from electra_plus.training.arguments import ElectraPlusTrainingArguments
    from electra_plus.training.trainer import ElectraPlusTrainer

__all__ = [
    "DataCollatorForPacking",
    "DataCollatorForReplacedTokenDetection",
    "ElectraPlusConfig",
    "ElectraPlusForCausalLM",
    "ElectraPlusForLongSequenceClassification",
    "ElectraPlusForMaskedLM",
    "ElectraPlusForMultipleChoice",
    "ElectraPlusForPreTraining",
    "ElectraPlusForQuestionAnswering",
    "ElectraPlusForReplacedTokenDetection",
    "ElectraPlusForSequenceClassification",
    "ElectraPlusForTokenClassification",
    "ElectraPlusModel",
    "ElectraPlusTrainer",
    "ElectraPlusTrainingArguments",
    "__version__",
    "pipeline",
    "push_to_hub",
    "register",
    "save_for_hub",
]

_MODEL_CLASSES = {head.class_name for head in HEADS}
_LAZY = {
    "DataCollatorForPacking": "electra_plus.data.packing",
    "DataCollatorForReplacedTokenDetection": "electra_plus.data.masking",
    "ElectraPlusTrainer": "electra_plus.training.trainer",
    "ElectraPlusTrainingArguments": "electra_plus.training.arguments",
    "pipeline": "electra_plus.pipelines",
    "push_to_hub": "electra_plus.hub",
    "save_for_hub": "electra_plus.hub",
}

register()


def __getattr__(name: str):
    if name in _MODEL_CLASSES:
        return load_model_classes()[name]
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'electra_plus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
