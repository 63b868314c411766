"""Checkpoints without a configuration: which networks they hold, and what each is made of."""

from electra_plus.conversion.names import AS_IT_IS, BERT, BERT_CLASSIFICATION, OF_EVERY_MODEL, RenamedWeights, leave_out
from electra_plus.conversion.parts import Part
from electra_plus.conversion.sizes import inferred_config
from electra_plus.conversion.sources import Source
from electra_plus.conversion.weights import Weights
from electra_plus.registration import load_model_classes

# The class by a prefix that only its head has; the first that fits. Names are transformers'.
HEADS = (
    ("discriminator_predictions.", "ElectraPlusForReplacedTokenDetection"),
    ("generator_predictions.", "ElectraPlusForMaskedLM"),
    ("cls.predictions.", "ElectraPlusForMaskedLM"),
    ("sequence_summary.", "ElectraPlusForMultipleChoice"),
    ("classifier.out_proj.", "ElectraPlusForSequenceClassification"),
    ("classifier.", "ElectraPlusForTokenClassification"),
    ("qa_outputs.", "ElectraPlusForQuestionAnswering"),
    ("", "ElectraPlusModel"),
)


def original_parts(source: Source, given: dict, part: str | None) -> tuple[list[Part], list[str]]:
    r"""
    Return the networks of a TensorFlow checkpoint or a state dict.

    Args:
        source ([`Source`]): What was opened.
        given (`dict`): Fields of the configuration that the user gave; `generator_config` in it holds the generator's.
        part (`str` or `None`): `"discriminator"` or `"generator"` alone; `None` is all there is.

    Returns:
        `tuple`: one or two [`Part`]s, and in words what was assumed.

    Raises:
        ValueError: It holds no ELECTRA or BERT, or not the part asked for.
    """
    names = list(source.weights.infos)
    generator = _of_generator(names)
    discriminator = {name: (name, AS_IT_IS) for name in names if not name.startswith("generator.")}
    # a checkpoint of the masked LM alone keeps the encoder under the discriminator's name
    has_discriminator = not generator or any(name.startswith("discriminator_predictions.") for name in names)
    held = {"discriminator": discriminator} if has_discriminator else {}
    if generator:
        held["generator"] = generator
    elif part == "generator" and _class_name(names) == "ElectraPlusForMaskedLM":
        held = {"generator": discriminator}
    if part is not None and part not in held:
        raise ValueError(
            f"`{source.name}` must hold a {part}, got only a {' and a '.join(held)} ({_class_name(names)}). Leave `part` out."
        )
    chosen = {name: view for name, view in held.items() if part in (None, name)}
    parts, assumptions = [], []
    for name, view in chosen.items():
        fields = dict(given.get("generator_config") or {}) if name == "generator" and generator else given
        made, assumed = _part(name if len(chosen) == 2 else "", RenamedWeights(source.weights, view), fields, source)
        parts.append(made)
        assumptions += [f"{name + ': ' if len(chosen) == 2 else ''}{text}" for text in assumed]
    used = {old for view in chosen.values() for old, _ in view.values()}
    elsewhere = [leave_out(source.weights, name, "of the other network") for name in names if name not in used]
    parts[0].further_steps = [*source.left_out, *elsewhere]
    return parts, assumptions


def _of_generator(names: list[str]) -> dict:
    """Return the generator's tensors by its own names; those that it shares with the discriminator are saved once."""
    own = {name.removeprefix("generator."): (name, AS_IT_IS) for name in names if name.startswith("generator.")}
    if not own:
        return {}
    has_encoder = any(name.startswith("electra.encoder.") for name in own)
    if not any(name.startswith("electra.embeddings.") for name in own):
        own |= {name: (name, AS_IT_IS) for name in names if name.startswith("electra.embeddings.")}
    if not has_encoder:  # generator and discriminator are one encoder with two heads
        own |= {
            name: (name, AS_IT_IS)
            for name in names
            if name.startswith(("electra.encoder.", "electra.embeddings_project."))
        }
    return own


def _class_name(names: list[str]) -> str:
    return next(class_name for prefix, class_name in HEADS if any(name.startswith(prefix) for name in names))


def _part(name: str, weights: Weights, given: dict, source: Source) -> tuple[Part, list[str]]:
    names = list(weights.infos)
    base = next((base for base in ("electra.", "bert.") if any(n.startswith(base) for n in names)), "")
    class_name = _class_name(names)
    rules = BERT if base == "bert." else ()
    if base == "bert." and class_name == "ElectraPlusForTokenClassification" and "bert.pooler.dense.weight" in names:
        class_name, rules = "ElectraPlusForSequenceClassification", BERT_CLASSIFICATION
        given = {"classifier_activation": "tanh", **given}
    config, assumptions = inferred_config(weights.infos, base, given, class_name, f"{source.name}")
    rules = (*OF_EVERY_MODEL, *rules)
    return Part(name, weights, load_model_classes()[class_name], config).forward(rules), assumptions


__all__ = ["original_parts"]
