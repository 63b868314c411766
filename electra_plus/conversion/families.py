"""Model types of transformers that classic ElectraPlus models become or came from: their classes, names and configurations."""

import dataclasses
import logging
from dataclasses import dataclass

import transformers
from transformers import PreTrainedConfig

from electra_plus.conversion.names import (
    BERT,
    BERT_CLASSIFICATION,
    BERT_MULTIPLE_CHOICE,
    OF_EVERY_MODEL,
    Rule,
    roberta,
    roberta_multiple_choice,
)
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig

logger = logging.getLogger(__name__)

# A head that stock ELECTRA has too is one row here.
STOCK_CLASSES = {
    "ElectraPlusModel": "ElectraModel",
    "ElectraPlusForReplacedTokenDetection": "ElectraForPreTraining",
    "ElectraPlusForMaskedLM": "ElectraForMaskedLM",
    "ElectraPlusForCausalLM": "ElectraForCausalLM",
    "ElectraPlusForSequenceClassification": "ElectraForSequenceClassification",
    "ElectraPlusForTokenClassification": "ElectraForTokenClassification",
    "ElectraPlusForQuestionAnswering": "ElectraForQuestionAnswering",
    "ElectraPlusForMultipleChoice": "ElectraForMultipleChoice",
}
# The heads of BERT and RoBERTa that compute what ours do, by the class name's end.
BERT_HEADS = {
    "Model": "ElectraPlusModel",
    "ForMaskedLM": "ElectraPlusForMaskedLM",
    "ForSequenceClassification": "ElectraPlusForSequenceClassification",
    "ForTokenClassification": "ElectraPlusForTokenClassification",
    "ForQuestionAnswering": "ElectraPlusForQuestionAnswering",
    "ForMultipleChoice": "ElectraPlusForMultipleChoice",
}


@dataclass(frozen=True)
class Family:
    """
    Model types whose tensors are called alike.

    Args:
        model_types (`dict[str, str]`): In transformers, with what their class names begin with. The first is written by default.
        base (`str`): The encoder's name in models with a head.
        heads (`dict[str, str]`): Our class by the rest of the class name. Of two for one of ours, the first is the usual.
    """

    model_types: dict[str, str]
    base: str
    heads: dict[str, str]


FAMILIES = {
    "electra": Family(
        {"electra": "Electra"}, "electra", {stock[len("Electra") :]: ours for ours, stock in STOCK_CLASSES.items()}
    ),
    "bert": Family(
        {"bert": "Bert"},
        "bert",
        {**BERT_HEADS, "ForPreTraining": "ElectraPlusForMaskedLM", "LMHeadModel": "ElectraPlusForCausalLM"},
    ),
    "roberta": Family(
        {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"},
        "roberta",
        {**BERT_HEADS, "ForCausalLM": "ElectraPlusForCausalLM"},
    ),
}
FAMILY_OF = {model_type: name for name, family in FAMILIES.items() for model_type in family.model_types}

# The value of each field with which an encoder computes what the stock encoders compute.
STOCK_VALUES = {
    "norm_position": "post",
    "norm_type": "layernorm",
    "position_embedding": "absolute",
    "mlp_type": "standard",
    "use_bias": True,
}

# Without rotary positions, local layers and chunks these say nothing, `flavour` only fills defaults, and the heads of
# further objectives belong to no network that is converted.
FIELDS_WITHOUT_EFFECT = (
    "flavour",
    "layer_types",
    "global_attn_every_n_layers",
    "local_attention",
    "global_rope_theta",
    "local_rope_theta",
    "chunk_length",
    "num_chunk_layers",
    "chunks_at_once",
    "objective_weights",
)


def stock_classes(model_type: str) -> dict[str, str]:
    """Return our class by each class of a model type that has one."""
    family = FAMILIES[FAMILY_OF[model_type]]
    return {family.model_types[model_type] + end: ours for end, ours in family.heads.items()}


def rules_for(model_type: str, stock_name: str, pad_token_id: int | None) -> tuple[Rule, ...]:
    """Return what the tensors of a stock class become in ours."""
    family, on_pooler = FAMILY_OF[model_type], stock_name.endswith("ForMultipleChoice")
    if family == "electra":
        return OF_EVERY_MODEL
    if family == "bert":
        heads = {
            "BertForMultipleChoice": BERT_MULTIPLE_CHOICE,
            "BertForSequenceClassification": BERT_CLASSIFICATION,
        }
        return (*OF_EVERY_MODEL, *heads.get(stock_name, BERT))
    return (*OF_EVERY_MODEL, *(roberta_multiple_choice if on_pooler else roberta)(first_position(pad_token_id)))


def first_position(pad_token_id: int | None) -> int:
    """Return the row of RoBERTa's position table that the first token has."""
    if pad_token_id is None:
        raise ValueError("`pad_token_id` must be a number: RoBERTa's positions begin behind it, got None. Set it.")
    return pad_token_id + 1


# ---- configurations ----


def our_config(fields: dict, stock_name: str) -> ElectraPlusConfig:
    """Return the configuration of the classic model that computes what a stock one does."""
    fields = dict(fields)
    model_type = fields["model_type"]
    if FAMILY_OF[model_type] == "roberta":
        config_class = transformers.AutoConfig.for_model(model_type).__class__
        usual = {
            name: getattr(config_class, name)
            for name in config_class.__annotations__
            if name in _fields_of(config_class)
        }
        fields = {**usual, **fields, "model_type": "bert"}
        fields["max_position_embeddings"] -= first_position(fields["pad_token_id"])
    if FAMILY_OF[model_type] != "electra" and stock_name.endswith("ForSequenceClassification"):
        fields.update(classifier_pooling="cls", classifier_activation="tanh")
    if FAMILY_OF[model_type] != "electra" and stock_name.endswith("ForMultipleChoice"):
        rate = fields.get("classifier_dropout")
        fields["summary_last_dropout"] = fields.get("hidden_dropout_prob", 0.1) if rate is None else rate
        fields.update(summary_type="first", summary_use_proj=True, summary_activation="tanh")
    config = ElectraPlusConfig.from_stock(fields)
    config.architectures = [stock_classes(model_type)[stock_name]]
    return config


def stock_config(config: ElectraPlusConfig, model_type: str = "electra") -> PreTrainedConfig:
    """Return the stock configuration of a classic model; [`refuse_what_stock_lacks`] has seen it."""
    config_class = transformers.AutoConfig.for_model(model_type).__class__
    of_our_files = {"model_type", "architectures", "auto_map", "custom_pipelines", "transformers_version"}
    own = _fields_of(ElectraPlusConfig) - _fields_of(config_class)
    fields = {name: value for name, value in config.to_dict().items() if name not in own | of_our_files}
    if FAMILY_OF[model_type] == "electra":
        # stock's field takes no `None`; the empty string, too, stands for no activation
        fields["summary_activation"] = fields["summary_activation"] or ""
    if FAMILY_OF[model_type] == "roberta":
        fields["max_position_embeddings"] += first_position(config.pad_token_id)
    return config_class(**fields)


def refuse_what_we_lack(fields: dict, stock_name: str, name) -> None:
    """Raise `ValueError` if a stock model computes what no classic one does."""
    needed = {}
    if stock_name in ("BertForPreTraining", "BertForMaskedLM", "BertLMHeadModel"):
        needed = {"hidden_act": "gelu"}  # fixed in the head of ELECTRA's masked LM
    if stock_name == "ElectraForMultipleChoice":
        needed = {"summary_first_dropout": 0, "summary_proj_to_labels": False}
    lacking = [
        f"`{field}={fields[field]!r}` (ElectraPlus: {value!r})"
        for field, value in needed.items()
        if (fields.get(field) or value) != value
    ]
    if lacking:
        raise ValueError(
            f"`folder_or_hub_name` ({str(name)!r}) has fields that {stock_name} reads and ElectraPlus has no equal for: "
            f"{', '.join(lacking)}. Keep using it in transformers."
        )


def refuse_what_stock_lacks(config: ElectraPlusConfig, class_name: str, name, model_type: str = "electra") -> None:
    """Raise `ValueError` if no stock model of a type computes what ours does."""
    lacking = _fields_stock_lacks(config)
    if class_name == "ElectraPlusForSequenceClassification":
        activation = "gelu" if FAMILY_OF[model_type] == "electra" else "tanh"
        lacking += _unequal(config, {"classifier_pooling": "cls", "classifier_activation": activation})
    if FAMILY_OF[model_type] != "electra":
        if config.embedding_size != config.hidden_size:
            lacking.append(f"`embedding_size={config.embedding_size}` (stock: `hidden_size`, {config.hidden_size})")
        if class_name == "ElectraPlusForMultipleChoice":
            lacking += _unequal(
                config, {"summary_type": "first", "summary_use_proj": True, "summary_activation": "tanh"}
            )
        has_vocabulary_head = class_name in ("ElectraPlusForMaskedLM", "ElectraPlusForCausalLM")
        if model_type == "bert" and has_vocabulary_head and config.hidden_act != "gelu":
            lacking.append(f"`hidden_act={config.hidden_act!r}` (ours has 'gelu' in the head, stock the same in both)")
    if isinstance(config.generator_config, ElectraPlusConfig):
        lacking += [
            field.replace("`", "`generator_config.", 1) for field in _fields_stock_lacks(config.generator_config)
        ]
    if lacking:
        stock = "stock ELECTRA" if model_type == "electra" else f"transformers' {model_type}"
        raise ValueError(
            f"`folder_or_hub_name` ({str(name)!r}) has fields that {stock} has no equal for: {', '.join(lacking)}. "
            "Only models that compute what the classic flavour does can be converted; open this one with electra_plus."
        )


def warn_of_fields_left_out(config: ElectraPlusConfig, model_type: str = "electra") -> None:
    """Name the fields that were changed from their default and that a stock configuration has not got."""
    usual = ElectraPlusConfig()
    own = _fields_of(ElectraPlusConfig) - _fields_of(transformers.AutoConfig.for_model(model_type).__class__)
    fields = own - {"generator_config", *FIELDS_WITHOUT_EFFECT}
    if model_type != "electra":
        fields -= {
            "classifier_activation",
            "embedding_size",
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_last_dropout",
        }
    left_out = sorted(field for field in fields if getattr(config, field) != getattr(usual, field))
    if left_out:
        values = ", ".join(f"{field}={getattr(config, field)!r}" for field in left_out)
        stock = "stock ELECTRA" if model_type == "electra" else f"transformers' {model_type}"
        logger.warning(f"Left out, since {stock} has no such fields and scores no differently: {values}.")


def _unequal(config: ElectraPlusConfig, values: dict) -> list[str]:
    return [
        f"`{field}={getattr(config, field)!r}` (stock: {value!r})"
        for field, value in values.items()
        if getattr(config, field) != value
    ]


def _fields_stock_lacks(config: ElectraPlusConfig) -> list[str]:
    lacking = _unequal(config, STOCK_VALUES)
    if "sliding_attention" in config.layer_types:
        lacking.append("`layer_types` with 'sliding_attention' (stock: 'full_attention' in every layer)")
    return lacking


def _fields_of(config_class: type[PreTrainedConfig]) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class)}


__all__ = [
    "FAMILIES",
    "FAMILY_OF",
    "FIELDS_WITHOUT_EFFECT",
    "STOCK_CLASSES",
    "STOCK_VALUES",
    "our_config",
    "refuse_what_stock_lacks",
    "refuse_what_we_lack",
    "rules_for",
    "stock_classes",
    "stock_config",
    "warn_of_fields_left_out",
]
