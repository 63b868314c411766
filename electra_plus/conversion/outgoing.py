"""ElectraPlus checkpoints, prepared to become folders of transformers' model types."""

from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForMaskedLM

from electra_plus.conversion.families import (
    FAMILIES,
    FAMILY_OF,
    STOCK_CLASSES,
    refuse_what_stock_lacks,
    rules_for,
    stock_classes,
    stock_config,
    warn_of_fields_left_out,
)
from electra_plus.conversion.names import (
    AS_IT_IS,
    OF_EVERY_MODEL,
    RenamedWeights,
    leave_out,
    spellings,
)
from electra_plus.conversion.parts import Part
from electra_plus.conversion.plan import ConversionPlan
from electra_plus.conversion.prepared import (
    DETECTOR_CLASS,
    JOINT_CLASS,
    UNCONVERTED_FILE,
    Conversion,
    architecture,
    check_part,
)
from electra_plus.conversion.sources import Source, refuse_layers
from electra_plus.conversion.weights import SafetensorsWeights, Weights, weights_of_folder
from electra_plus.folders import file_of, read_config
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.registration import load_model_classes


def prepare_outgoing(name, model_type: str, part: str | None) -> Conversion:
    """Plan what `to_stock` is asked for, with its arguments."""
    check_part(part)
    if model_type not in FAMILY_OF:
        raise ValueError(f"`model_type` must be one of {', '.join(FAMILY_OF)}, got {model_type!r}.")
    fields = read_config(name, "folder_or_hub_name")
    if fields.get("model_type") != ElectraPlusConfig.model_type:
        raise ValueError(
            f"`folder_or_hub_name` must be an ElectraPlus checkpoint, got model type {fields.get('model_type')!r} in "
            f"{str(name)!r}. Convert stock checkpoints with `from_stock` (`--to electra-plus`)."
        )
    class_name = architecture(fields, name, "folder_or_hub_name", (*STOCK_CLASSES, JOINT_CLASS))
    weights = weights_of_folder(name, "folder_or_hub_name")
    refuse_layers(fields, weights, "folder_or_hub_name")
    config = ElectraPlusConfig.from_pretrained(name)
    if class_name != JOINT_CLASS:
        if part is not None:
            raise ValueError(f"`part` is for joint checkpoints, got {part!r} for a {class_name}. Leave it out.")
        parts = [_stock_part("", weights, config, class_name, model_type, name)]
    else:
        if model_type != "electra" and part != "generator":
            raise ValueError(
                f"`folder_or_hub_name` ({str(name)!r}) is a joint checkpoint, and {model_type} has no class for its "
                "discriminator. Convert it to stock ELECTRA (`--to stock`), or the generator alone (`--part generator`)."
            )
        parts = _parts_of_joint(weights, config, model_type, part, name)
    result = ", ".join(f"transformers.{part.class_name}" for part in parts)
    plan = ConversionPlan(str(name), result, tuple(part.plan() for part in parts))
    return Conversion(plan, parts, [Source(name, name, weights, fields)])


def _stock_part(part_name: str, weights: Weights, config, class_name: str, model_type: str, name) -> Part:
    refuse_what_stock_lacks(config, class_name, name, model_type)
    warn_of_fields_left_out(config, model_type)
    if FAMILY_OF[model_type] == "electra":
        stock_class = getattr(transformers, STOCK_CLASSES[class_name])
        return Part(part_name, weights, stock_class, stock_config(config)).backward(OF_EVERY_MODEL, None)
    aside, kept_from = _read_aside(name)
    if FAMILY_OF.get(kept_from.get("model_type")) == FAMILY_OF[model_type]:
        model_type = kept_from["model_type"]  # an XLM-R becomes one again
    else:
        aside, kept_from = None, {}  # a BERT's pooler is no RoBERTa's
    stock_name = _stock_name(class_name, model_type, kept_from.get("architecture"), aside, name)
    part = Part(part_name, weights, getattr(transformers, stock_name), stock_config(config, model_type))
    base = FAMILIES[FAMILY_OF[model_type]].base
    if aside is not None:
        aside = _with_base(aside, base, part.targets)
    return part.backward(rules_for(model_type, stock_name, config.pad_token_id), aside)


def _stock_name(class_name: str, model_type: str, came_from: str | None, aside: Weights | None, name) -> str:
    """Return the stock class for ours: the one it came from, or one that has places for what was kept aside."""
    names = [stock for stock, ours in stock_classes(model_type).items() if ours == class_name]
    if not names:
        heads = sorted(set(stock_classes(model_type).values()))
        raise ValueError(
            f"`folder_or_hub_name` ({str(name)!r}) holds {class_name}, and {model_type} has no such class, only those for "
            f"{', '.join(heads)}. Open it with one of these and save it, or convert it to stock ELECTRA (`--to stock`)."
        )
    if came_from in names:
        return came_from
    kept = aside.infos if aside is not None else ()
    has_next_sentence_head = any(tensor.startswith("cls.seq_relationship.") for tensor in kept)
    return "BertForPreTraining" if has_next_sentence_head and "BertForPreTraining" in names else names[0]


def _with_base(aside: Weights, base: str, targets: dict) -> Weights:
    """Return what was kept aside under the names of a model with or without a head."""
    names = {}
    for old in aside.infos:
        names[next((name for name in spellings(old, base) if name in targets), old)] = (old, AS_IT_IS)
    return RenamedWeights(aside, names)


def _read_aside(name) -> tuple[Weights | None, dict]:
    file = file_of(name, UNCONVERTED_FILE)
    if file is None:
        return None, {}
    weights = SafetensorsWeights([Path(file)])
    with safe_open(file, framework="pt") as tensors:
        return weights, tensors.metadata() or {}


def _parts_of_joint(weights: Weights, config: ElectraPlusConfig, model_type: str, part: str | None, name) -> list[Part]:
    generator_config = config.generator_config
    with torch.device("meta"):
        joint = load_model_classes()[JOINT_CLASS](config)
    # what both share is saved once, under the discriminator's name
    shared = {
        target.removeprefix("generator."): source
        for target, source in joint.all_tied_weights_keys.items()
        if target.startswith("generator.") and source in weights.infos
    }
    of_generator = {n.removeprefix("generator."): (n, AS_IT_IS) for n in weights.infos if n.startswith("generator.")}
    of_generator = {**{n: (source, AS_IT_IS) for n, source in shared.items() if n not in of_generator}, **of_generator}
    others = ("generator.", "embedding_differences.", "objectives.")
    of_discriminator = {n: (n, AS_IT_IS) for n in weights.infos if not n.startswith(others)}
    parts = []
    if part != "generator":
        alone = ElectraPlusConfig.from_dict({**config.to_dict(), "objective_weights": None})
        refuse_what_stock_lacks(alone, JOINT_CLASS, name)
        parts.append(
            _stock_part(
                "discriminator", RenamedWeights(weights, of_discriminator), alone, DETECTOR_CLASS, "electra", name
            )
        )
    if part != "discriminator":
        view = RenamedWeights(weights, of_generator)
        if isinstance(generator_config, ElectraPlusConfig):
            parts.append(_stock_part("generator", view, generator_config, "ElectraPlusForMaskedLM", model_type, name))
        elif model_type != "electra" and model_type != generator_config.model_type:
            raise ValueError(
                f"`folder_or_hub_name` ({str(name)!r}) has a generator of model type {generator_config.model_type!r}, which does "
                f"not become {model_type}. Use `--to stock`, which writes it as it is."
            )
        else:
            parts.append(Part("generator", view, AutoModelForMaskedLM.from_config, generator_config).backward((), None))
    if part is not None:
        parts[0].name = ""
    folded = "folded into the discriminator's tables"
    parts[0].further_steps = [
        leave_out(weights, n, folded if n.startswith("embedding_differences.") else "a head of pretraining")
        for n in weights.infos
        if n.startswith(others[1:])
    ]
    return parts


__all__ = ["prepare_outgoing"]
