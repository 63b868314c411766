"""
Folders of stock `electra` and `bert` models become ElectraPlus folders, and classic ElectraPlus folders become stock ones.

Parameters of the classic flavour have stock ELECTRA's names, so a conversion changes the configuration and copies the
tensors bit by bit. Weights are read and written as safetensors only.
"""

import dataclasses
import json
import logging
from functools import reduce
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import ElectraConfig, PreTrainedModel

from electra_plus.folders import copy_tokenizer, file_of, finished_folder, one_line, read_config
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.models.modeling_electra_plus import ElectraPlusPreTrainedModel
from electra_plus.registration import load_model_classes

logger = logging.getLogger(__name__)

JOINT_CLASS = "ElectraPlusForPreTraining"

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

# The heads that compute the same without BERT's pooler. Sequence classification and multiple choice stand on the pooler.
BERT_CLASSES = {
    "BertModel": "ElectraPlusModel",
    "BertForPreTraining": "ElectraPlusForMaskedLM",
    "BertForMaskedLM": "ElectraPlusForMaskedLM",
    "BertLMHeadModel": "ElectraPlusForCausalLM",
    "BertForTokenClassification": "ElectraPlusForTokenClassification",
    "BertForQuestionAnswering": "ElectraPlusForQuestionAnswering",
}
LEFT_OUT_OF_BERT = {
    "BertModel": "the pooler",
    "BertForPreTraining": "the pooler and the next sentence head",
}

OUR_CLASSES = {
    "electra": {stock: ours for ours, stock in STOCK_CLASSES.items()},
    "bert": BERT_CLASSES,
}
GENERATOR_CLASSES = {"electra": ("ElectraForMaskedLM",), "bert": ("BertForMaskedLM", "BertForPreTraining")}

# The value of each field with which an encoder computes what stock ELECTRA computes.
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

# Names in the header of a safetensors file.
FLOAT_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def to_stock(folder_or_hub_name: str | Path, output_dir: str | Path, overwrite: bool = False) -> dict[Path, str]:
    r"""
    Write a classic ElectraPlus checkpoint as a folder that transformers opens without this package.

    Tensors stay bit-equal and keep their dtype. Configuration fields that stock ELECTRA has are carried over; those that
    only steer pretraining are left out and named in a warning. The tokenizer's files are copied. The folder is written
    beside its final place and moved there when complete.

    Args:
        folder_or_hub_name (`str` or `Path`):
            An ElectraPlus checkpoint with safetensors weights, with any head that stock ELECTRA has.
        output_dir (`str` or `Path`):
            Folder to write. A joint checkpoint becomes two folders in it, `discriminator` (`ElectraForPreTraining`) and
            `generator` (`ElectraForMaskedLM`, or the generator's own class if it is of another model type).
        overwrite (`bool`, *optional*, defaults to `False`): Replace an `output_dir` that is not empty, with all it holds.

    Returns:
        `dict[Path, str]`: the class in `transformers` that opens each folder written.

    Raises:
        FileNotFoundError: There is no such checkpoint, or it has no safetensors weights.
        ValueError: Stock ELECTRA has no equal of a configuration field or of the head, weights are missing or damaged, or
            `output_dir` is not empty.
    """
    fields = read_config(folder_or_hub_name, "folder_or_hub_name")
    if fields.get("model_type") != ElectraPlusConfig.model_type:
        raise ValueError(
            f"`folder_or_hub_name` must be an ElectraPlus checkpoint, got model type {fields.get('model_type')!r} in "
            f"{str(folder_or_hub_name)!r}. Convert stock checkpoints with `from_stock` (`--to electra-plus`)."
        )
    class_name = _architecture(fields, folder_or_hub_name, "folder_or_hub_name", (*STOCK_CLASSES, JOINT_CLASS))
    _refuse_what_stock_lacks(ElectraPlusConfig.from_pretrained(folder_or_hub_name), class_name, folder_or_hub_name)
    with finished_folder(output_dir, overwrite, folder_or_hub_name) as unfinished:
        model = _load(load_model_classes()[class_name], folder_or_hub_name, "folder_or_hub_name")
        if class_name == JOINT_CLASS:
            parts = {"discriminator": model.discriminator, "generator": model.generator}
        else:
            parts = {"": model}
        _warn_of_fields_left_out(model.config)
        written = {}
        for name, part in parts.items():
            stock = _stock_model(part)
            stock.save_pretrained(unfinished / name)
            copy_tokenizer([folder_or_hub_name], unfinished / name)
            written[Path(output_dir) / name] = type(stock).__name__
    return written


def from_stock(
    folder_or_hub_name: str | Path,
    output_dir: str | Path,
    generator: str | Path | None = None,
    overwrite: bool = False,
) -> dict[Path, str]:
    r"""
    Write a stock ELECTRA or BERT checkpoint as an ElectraPlus folder, or a discriminator and its generator as a joint one.

    Tensors stay bit-equal and keep their dtype (a joint checkpoint has one for both parts: the wider). All configuration
    fields are carried over, and the tokenizer's files are copied. The folder is written beside its final place and moved
    there when complete.

    Args:
        folder_or_hub_name (`str` or `Path`):
            A stock `electra` checkpoint with any head, or a `bert` one without a head or with one for masked LM, causal
            LM, token classification or question answering. BERT's pooler and next sentence head are left out. With
            `generator` an `ElectraForPreTraining`.
        output_dir (`str` or `Path`): Folder to write.
        generator (`str` or `Path`, *optional*):
            An `ElectraForMaskedLM` or `BertForMaskedLM` checkpoint with the same vocabulary. Embedding tables that are
            equal in both are shared, as `ElectraPlusForPreTraining.from_generator_discriminator` does.
        overwrite (`bool`, *optional*, defaults to `False`): Replace an `output_dir` that is not empty, with all it holds.

    Returns:
        `dict[Path, str]`: the folder written and the class in `electra_plus` that opens it.

    Raises:
        FileNotFoundError: There is no such checkpoint, or it has no safetensors weights.
        ValueError: Another model type or head, weights are missing or damaged, vocabularies differ, or `output_dir` is not
            empty.
    """
    fields = read_config(folder_or_hub_name, "folder_or_hub_name")
    stock_name = _stock_architecture(fields, folder_or_hub_name, "folder_or_hub_name", OUR_CLASSES)
    _refuse_what_we_lack(fields, stock_name, folder_or_hub_name)
    if generator is not None:
        generator_fields = read_config(generator, "generator")
        _stock_architecture(generator_fields, generator, "generator", GENERATOR_CLASSES)
        if stock_name != "ElectraForPreTraining":
            raise ValueError(
                f"`folder_or_hub_name` must be an ElectraForPreTraining checkpoint when `generator` is given, got "
                f"{stock_name} in {str(folder_or_hub_name)!r}. To start a new detector head use "
                f"`ElectraPlusForPreTraining.from_generator_discriminator`."
            )
    sources = [folder_or_hub_name] if generator is None else [folder_or_hub_name, generator]
    with finished_folder(output_dir, overwrite, *sources) as unfinished:
        if generator is None:
            our_name = OUR_CLASSES[fields["model_type"]][stock_name]
            model = _load(load_model_classes()[our_name], folder_or_hub_name, "folder_or_hub_name")
            if stock_name in LEFT_OUT_OF_BERT:
                logger.warning(f"{our_name} has no place for {LEFT_OUT_OF_BERT[stock_name]}, which is left out.")
        else:
            model = _joint_model(folder_or_hub_name, generator, generator_fields["model_type"])
        model.save_pretrained(unfinished)
        copy_tokenizer(sources, unfinished)
    return {Path(output_dir): type(model).__name__}


# ---- configurations ----


def _architecture(fields: dict, name: str | Path, argument: str, allowed: tuple[str, ...]) -> str:
    found = (fields.get("architectures") or [None])[0]
    if found not in allowed:
        raise ValueError(
            f"`{argument}` must hold one of {', '.join(allowed)} (field `architectures` of its config.json), got {found} in "
            f"{str(name)!r}. Open it with one of these classes and save it."
        )
    return found


def _stock_architecture(fields: dict, name: str | Path, argument: str, allowed: dict) -> str:
    model_type = fields.get("model_type")
    if model_type not in allowed:
        hint = " Convert it with `to_stock` (`--to stock`)." if model_type == ElectraPlusConfig.model_type else ""
        raise ValueError(
            f"`{argument}` must be a stock checkpoint of model type {' or '.join(allowed)}, got {model_type!r} in "
            f"{str(name)!r}.{hint}"
        )
    return _architecture(fields, name, argument, tuple(allowed[model_type]))


def _refuse_what_we_lack(fields: dict, stock_name: str, name: str | Path) -> None:
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


def _refuse_what_stock_lacks(config: ElectraPlusConfig, class_name: str, name: str | Path) -> None:
    lacking = _fields_stock_lacks(config)
    if class_name == "ElectraPlusForSequenceClassification" and config.classifier_pooling != "cls":
        lacking.append(f"`classifier_pooling={config.classifier_pooling!r}` (stock: 'cls')")
    if class_name == JOINT_CLASS and isinstance(config.generator_config, ElectraPlusConfig):
        lacking += [
            field.replace("`", "`generator_config.", 1) for field in _fields_stock_lacks(config.generator_config)
        ]
    if lacking:
        raise ValueError(
            f"`folder_or_hub_name` ({str(name)!r}) has fields that stock ELECTRA has no equal for: {', '.join(lacking)}. "
            "Only models that compute what the classic flavour does can be converted; open this one with electra_plus."
        )


def _fields_stock_lacks(config: ElectraPlusConfig) -> list[str]:
    lacking = [
        f"`{field}={getattr(config, field)!r}` (stock: {value!r})"
        for field, value in STOCK_VALUES.items()
        if getattr(config, field) != value
    ]
    if "sliding_attention" in config.layer_types:
        lacking.append("`layer_types` with 'sliding_attention' (stock: 'full_attention' in every layer)")
    return lacking


def _own_fields() -> set[str]:
    """Return the names of configuration fields that stock ELECTRA does not know."""
    return {field.name for field in dataclasses.fields(ElectraPlusConfig)} - {
        field.name for field in dataclasses.fields(ElectraConfig)
    }


def _stock_config(config: ElectraPlusConfig) -> ElectraConfig:
    of_our_files = {"model_type", "architectures", "auto_map", "custom_pipelines", "transformers_version"}
    fields = {name: value for name, value in config.to_dict().items() if name not in _own_fields() | of_our_files}
    # stock's field takes no `None`; the empty string, too, stands for no activation
    fields["summary_activation"] = fields["summary_activation"] or ""
    return ElectraConfig(**fields)


def _warn_of_fields_left_out(config: ElectraPlusConfig) -> None:
    usual = ElectraPlusConfig()
    fields = _own_fields() - {"generator_config", *FIELDS_WITHOUT_EFFECT}
    left_out = sorted(field for field in fields if getattr(config, field) != getattr(usual, field))
    if left_out:
        values = ", ".join(f"{field}={getattr(config, field)!r}" for field in left_out)
        logger.warning(f"Left out, since stock ELECTRA has no such fields and scores no differently: {values}.")


# ---- weights ----


def _weight_files(name: str | Path) -> list[str]:
    """Return the safetensors files that transformers would load; none if the Hub still has to make them."""
    files = ["model.safetensors"]
    if file_of(name, files[0]) is None and (index := file_of(name, "model.safetensors.index.json")):
        files = sorted(set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()))
    return [path for path in (file_of(name, file) for file in files) if path]


def _stored_dtype(files: list[str]) -> torch.dtype | None:
    """Return the narrowest dtype that holds every tensor exactly; the configuration's may be out of date."""
    found = set()
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            found |= {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    dtypes = [FLOAT_DTYPES[name] for name in found if name in FLOAT_DTYPES]
    return reduce(torch.promote_types, dtypes) if dtypes else None


def _load(model_class: type[PreTrainedModel], name: str | Path, argument: str) -> PreTrainedModel:
    """Load every weight in the dtype it is stored in, or raise."""
    files = _weight_files(name)
    if Path(name).is_dir() and not files:
        raise FileNotFoundError(
            f"`{argument}` must hold safetensors weights, got {str(name)!r} without model.safetensors. A "
            f"pytorch_model.bin becomes one when you open the folder in transformers and call `save_pretrained`."
        )
    config = model_class.config_class.from_pretrained(name)
    config.architectures = [model_class.__name__]
    try:
        model, info = model_class.from_pretrained(
            name,
            config=config,
            dtype=_stored_dtype(files) or "auto",
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"`{argument}` ({str(name)!r}) has weights that cannot be read: {one_line(error)} Copy or download it again."
        ) from error
    lacking = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    if lacking:
        shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        raise ValueError(
            f"`{argument}` ({str(name)!r}) must hold all weights of {model_class.__name__}, in the shapes of its "
            f"config.json; missing or of another shape: {shown}. Check that config.json and weights belong together."
        )
    return model


def _stock_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return the stock model with the same tensors; a model of another type is its own stock model."""
    if not isinstance(model, ElectraPlusPreTrainedModel):
        return model
    stock_class = getattr(transformers, STOCK_CLASSES[type(model).__name__])
    with torch.device("meta"):
        stock = stock_class(_stock_config(model.config))
    stock.load_state_dict(model.state_dict(), assign=True)
    stock.tie_weights()
    if stock.can_generate():
        stock.generation_config = model.generation_config
    return stock


def _joint_model(discriminator: str | Path, generator: str | Path, generator_type: str) -> PreTrainedModel:
    classes = load_model_classes()
    detector = _load(classes["ElectraPlusForReplacedTokenDetection"], discriminator, "folder_or_hub_name")
    # stock ELECTRA's generator becomes ours, so that pretraining scores masked slots only and `to_stock` finds it again
    generator_class = classes["ElectraPlusForMaskedLM"] if generator_type == "electra" else transformers.BertForMaskedLM
    masked_lm = _load(generator_class, generator, "generator")
    sizes = [model.config.vocab_size for model in (detector, masked_lm)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"`generator` ({str(generator)!r}) must have the discriminator's `vocab_size` ({sizes[0]}), got {sizes[1]}. "
            "Give a generator that was trained with the same tokenizer."
        )
    masked_lm.config.name_or_path = ""  # the joint config.json would show it
    joint_class = classes[JOINT_CLASS]
    usual_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.promote_types(detector.dtype, masked_lm.dtype))
    try:
        # `None` shares what is equal, which a discriminator that says its tables stand alone does not want
        sharing = None if detector.config.tie_word_embeddings else "none"
        return joint_class.from_generator_discriminator(masked_lm, detector, embedding_sharing=sharing)
    finally:
        torch.set_default_dtype(usual_dtype)


__all__ = ["from_stock", "to_stock"]
