"""Checkpoints of others, prepared to become ElectraPlus folders."""

from contextlib import ExitStack
from pathlib import Path

import transformers
from transformers import AutoModelForMaskedLM

from electra_plus.conversion.families import (
    FAMILY_OF,
    our_config,
    refuse_what_we_lack,
    rules_for,
    stock_classes,
)
from electra_plus.conversion.names import (
    DEBERTA_V3_GENERATOR,
    OF_EVERY_MODEL,
    in_transformers_names,
)
from electra_plus.conversion.originals import original_parts
from electra_plus.conversion.parts import Part
from electra_plus.conversion.plan import ConversionPlan
from electra_plus.conversion.prepared import (
    DETECTOR_CLASS,
    JOINT_CLASS,
    Conversion,
    architecture,
    check_part,
    first_architecture,
)
from electra_plus.conversion.sizes import read_config_file
from electra_plus.conversion.sources import Source, open_source, refuse_layers
from electra_plus.conversion.weights import weights_of_file
from electra_plus.folders import file_of, read_json
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.registration import load_model_classes


def prepare_incoming(name, generator, part, config, stack: ExitStack) -> Conversion:
    """Plan what `from_stock` is asked for, with its arguments; `stack` removes what an archive was extracted to."""
    check_part(part)
    source = open_source(name, "folder_or_hub_name", stack)
    if source.fields is None:
        given = read_config_file(config)
        parts, assumptions = original_parts(source, given, part if generator is None else "discriminator")
        model_type, stock_name = None, None
    else:
        if config is not None:
            raise ValueError(
                f"`config` is for checkpoints without one, got {str(config)!r} for {str(name)!r}, which has its config.json. "
                "Change that instead."
            )
        model_type, stock_name = _stock_architecture(source.fields, name, with_generator=generator is not None)
        if part is not None:
            raise ValueError(
                f"`part` is for checkpoints of two networks, got {part!r} for a {stock_name}. Leave it out."
            )
        parts, assumptions = [_our_part(source, model_type, stock_name)], ()
    sources = [source]
    if generator is not None:
        if parts[0].class_name != DETECTOR_CLASS:
            raise ValueError(
                f"`folder_or_hub_name` must be an ElectraForPreTraining checkpoint when `generator` is given, got "
                f"{stock_name or parts[0].class_name} in {str(name)!r}. To start a new detector head use "
                f"`ElectraPlusForPreTraining.from_generator_discriminator`."
            )
        parts[0].name = "discriminator"
        second, generator_source = _generator_part(generator, stack)
        _refuse_other_vocabulary(parts[0], second, generator)
        parts.append(second)
        sources.append(generator_source)
    joint = len(parts) == 2
    class_name = JOINT_CLASS if joint else parts[0].class_name
    plan = ConversionPlan(
        str(name), f"electra_plus.{class_name}", tuple(part.plan() for part in parts), tuple(assumptions)
    )
    kept_from = {}
    if not joint and parts[0].kept:  # of checkpoints without a configuration only BERT's have what is kept
        kept_from = {"model_type": model_type or "bert", "architecture": stock_name}
    return Conversion(plan, parts, sources, is_joint=joint, kept_from=kept_from)


def _our_part(source: Source, model_type: str, stock_name: str) -> Part:
    classes = load_model_classes()
    if model_type == ElectraPlusConfig.model_type:  # a detector, to be joined with a generator
        config = _own_config(source.name, stock_name)
        return _with_left_out(Part("", source.weights, classes[stock_name], config).forward(()), source)
    refuse_what_we_lack(source.fields, stock_name, source.name)
    config = our_config(source.fields, stock_name)
    part = Part("", source.weights, classes[stock_classes(model_type)[stock_name]], config)
    pad_token_id = source.fields.get("pad_token_id", config.pad_token_id)
    part.forward(rules_for(model_type, stock_name, pad_token_id))
    if model_type == "electra":
        part.kept.clear()
    return _with_left_out(part, source)


def _generator_part(generator: str | Path, stack: ExitStack) -> tuple[Part, Source]:
    source = _deberta_v3_generator(generator) or open_source(generator, "generator", stack)
    if source.fields is None:
        parts, _ = original_parts(source, {}, "generator")
        parts[0].name = "generator"
        return parts[0], source
    model_type, architecture = source.fields.get("model_type"), first_architecture(source.fields)
    if model_type == ElectraPlusConfig.model_type or model_type == "electra":
        if architecture not in ("ElectraPlusForMaskedLM", "ElectraForMaskedLM"):
            raise ValueError(
                f"`generator` must be a masked LM, got {architecture} in {str(generator)!r}. Give an ElectraForMaskedLM, or a "
                "masked LM of another model type. A joint checkpoint's generator comes out with `--to stock --part generator`."
            )
        # stock ELECTRA's generator becomes ours, so that pretraining scores masked slots only and `to_stock` finds it again
        config = _own_config(generator, "ElectraPlusForMaskedLM")
        part = Part("generator", source.weights, load_model_classes()["ElectraPlusForMaskedLM"], config)
        return _with_left_out(part.forward(OF_EVERY_MODEL), source), source
    try:
        # without `auto_map`, which names code beside the weights
        fields = {name: value for name, value in source.fields.items() if name != "auto_map"}
        config = transformers.AutoConfig.for_model(**fields)
        known = type(config) in AutoModelForMaskedLM._model_mapping
    except (ValueError, TypeError):
        known = False
    if not known:
        raise ValueError(
            f"`generator` must be of a model type that transformers' AutoModelForMaskedLM knows, got {model_type!r} in "
            f"{str(generator)!r}. Give a masked LM, such as a BERT, RoBERTa or DeBERTa."
        )
    config.architectures = None
    part = Part("generator", source.weights, AutoModelForMaskedLM.from_config, config)
    rules = [*OF_EVERY_MODEL, *(DEBERTA_V3_GENERATOR if model_type == "deberta-v2" else ())]
    part.forward(rules, base=_base_of(config))
    _leave_out_other_heads(part, source)
    return _with_left_out(part, source), source


def _own_config(name: str | Path, class_name: str) -> ElectraPlusConfig:
    """Return the configuration of a folder, without what points to code beside its weights, which is not copied."""
    config = ElectraPlusConfig.from_pretrained(name)
    for field in ("auto_map", "custom_pipelines"):
        if hasattr(config, field):
            delattr(config, field)
    config.architectures = [class_name]
    return config


def _base_of(config) -> str:
    return AutoModelForMaskedLM._model_mapping[type(config)].base_model_prefix


def _leave_out_other_heads(part: Part, source: Source) -> None:
    """A masked LM needs no pooler and no next sentence head, which BERTs carry; nothing scores differently without."""
    for name in list(part.unmatched):
        if name.startswith(("cls.seq_relationship.", "pooler.")) or ".pooler." in name:
            del part.unmatched[name]
            part.left_out[name] = "the pooler or the next sentence head, which a masked LM has not got"


def _deberta_v3_generator(folder: str | Path) -> Source | None:
    """
    Return the generator that DeBERTaV3's authors put beside their discriminators, if a folder or Hub repository has one.

    Source: files of microsoft/deberta-v3-base on the Hub; microsoft/DeBERTa, experiments/language_model/README.md.
    """
    if not Path(folder).is_dir() and Path(folder).exists():
        return None
    config, weights = file_of(folder, "generator_config.json"), file_of(folder, "pytorch_model.generator.bin")
    if config is None or weights is None:
        return None
    renamed, left_out = in_transformers_names(weights_of_file(Path(weights)))
    fields = {"model_type": "deberta-v2", **read_json(config, "generator")}
    refuse_layers(fields, renamed, "generator")
    return Source(folder, folder, renamed, fields, left_out)


def _refuse_other_vocabulary(discriminator: Part, generator: Part, name: str | Path) -> None:
    sizes = [part.config.vocab_size for part in (discriminator, generator)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"`generator` ({str(name)!r}) must have the discriminator's `vocab_size` ({sizes[0]}), got {sizes[1]}. "
            "Give a generator that was trained with the same tokenizer."
        )


def _with_left_out(part: Part, source: Source) -> Part:
    part.further_steps = source.left_out
    return part


def _stock_architecture(fields: dict, name, with_generator: bool) -> tuple[str, str]:
    model_type = fields.get("model_type")
    if model_type == ElectraPlusConfig.model_type and with_generator:
        return model_type, architecture(fields, name, "folder_or_hub_name", (DETECTOR_CLASS,))
    if model_type not in FAMILY_OF:
        hint = " Convert it with `to_stock` (`--to stock`)." if model_type == ElectraPlusConfig.model_type else ""
        raise ValueError(
            f"`folder_or_hub_name` must be a stock checkpoint of model type {' or '.join(FAMILY_OF)}, got {model_type!r} in "
            f"{str(name)!r}.{hint}"
        )
    return model_type, architecture(fields, name, "folder_or_hub_name", tuple(stock_classes(model_type)))


__all__ = ["prepare_incoming"]
