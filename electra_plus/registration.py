"""The one table: which class serves which Auto class. A new head is one row here."""

from dataclasses import dataclass

import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.models.modeling_electra_plus import ElectraPlusModel
from electra_plus.models.modeling_electra_plus_causal import ElectraPlusForCausalLM
from electra_plus.models.modeling_electra_plus_heads import (
    ElectraPlusForMultipleChoice,
    ElectraPlusForQuestionAnswering,
    ElectraPlusForSequenceClassification,
    ElectraPlusForTokenClassification,
)
from electra_plus.models.modeling_electra_plus_pretraining import (
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusForReplacedTokenDetection,
)


@dataclass(frozen=True)
class Head:
    """
    One row of the table.

    Args:
        model_class: The model.
        auto_class (`str` or `None`): Name of the class in `transformers` that loads it; `None` if none means this task.
        pipelines (`tuple[str, ...]`): Stock pipelines it serves.
    """

    model_class: type[PreTrainedModel]
    auto_class: str | None
    pipelines: tuple[str, ...] = ()


HEADS = (
    Head(ElectraPlusModel, "AutoModel", ("feature-extraction",)),
    Head(ElectraPlusForPreTraining, "AutoModelForPreTraining"),
    Head(ElectraPlusForReplacedTokenDetection, None),
    Head(ElectraPlusForMaskedLM, "AutoModelForMaskedLM", ("fill-mask",)),
    Head(ElectraPlusForCausalLM, "AutoModelForCausalLM", ("text-generation",)),
    Head(
        ElectraPlusForSequenceClassification,
        "AutoModelForSequenceClassification",
        ("text-classification", "zero-shot-classification"),
    ),
    Head(ElectraPlusForTokenClassification, "AutoModelForTokenClassification", ("token-classification",)),
    Head(ElectraPlusForQuestionAnswering, "AutoModelForQuestionAnswering"),
    Head(ElectraPlusForMultipleChoice, "AutoModelForMultipleChoice"),
)


def register() -> None:
    """Make transformers' Auto classes and pipelines know every row of the table. Calling it again changes nothing."""
    AutoConfig.register(ElectraPlusConfig.model_type, ElectraPlusConfig, exist_ok=True)
    # a folder with only a BERT vocab.txt names no tokenizer class; released ELECTRA uses BERT's
    AutoTokenizer.register(ElectraPlusConfig, tokenizer_class=transformers.BertTokenizer, exist_ok=True)
    for head in HEADS:
        if head.auto_class is not None:
            getattr(transformers, head.auto_class).register(ElectraPlusConfig, head.model_class, exist_ok=True)
