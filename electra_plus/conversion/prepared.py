"""A conversion that is prepared: its plan, its models, and what config.json must say for it."""

from dataclasses import dataclass, field

from electra_plus.conversion.parts import Part
from electra_plus.conversion.plan import ConversionPlan
from electra_plus.conversion.sources import Source

JOINT_CLASS = "ElectraPlusForPreTraining"
DETECTOR_CLASS = "ElectraPlusForReplacedTokenDetection"
PARTS = ("discriminator", "generator")
UNCONVERTED_FILE = "unconverted.safetensors"


@dataclass
class Conversion:
    """
    What is to be written, prepared.

    Args:
        plan ([`ConversionPlan`]): To be shown.
        parts (`list[Part]`): One model for the output folder, or two, which become one joint model or a folder each.
        sources (`list[Source]`): Where they come from, for tokenizers.
        is_joint (`bool`, *optional*, defaults to `False`): Whether two parts become one model.
        kept_from (`dict`, *optional*): Model type and class that what is kept aside came from; empty if nothing is.
    """

    plan: ConversionPlan
    parts: list[Part]
    sources: list[Source]
    is_joint: bool = False
    kept_from: dict = field(default_factory=dict)


def check_part(part: str | None) -> None:
    """Raise `ValueError` if a part is none of a joint checkpoint's."""
    if part not in (None, *PARTS):
        raise ValueError(f"`part` must be one of {', '.join(PARTS)}, got {part!r}. Leave it out for both.")


def first_architecture(fields: dict) -> str | None:
    """Return the class that a config.json says its weights are of."""
    return (fields.get("architectures") or [None])[0]


def architecture(fields: dict, name, argument: str, allowed: tuple[str, ...]) -> str:
    """Return the class that a config.json says its weights are of; raise `ValueError` if it is not allowed."""
    found = first_architecture(fields)
    if found not in allowed:
        raise ValueError(
            f"`{argument}` must hold one of {', '.join(allowed)} (field `architectures` of its config.json), got {found} in "
            f"{str(name)!r}. Open it with one of these classes and save it."
        )
    return found


__all__ = ["Conversion", "architecture", "check_part", "first_architecture"]
