"""The plan of a conversion: which tensor becomes which, what is left out, and what would be lost or stay random."""

from dataclasses import dataclass, field

NO_PLACE = "NO PLACE"
NO_SOURCE = "NO SOURCE"
OTHER_SHAPE = "OTHER SHAPE"


@dataclass(frozen=True)
class Step:
    """
    What becomes of one tensor.

    Args:
        source (`str` or `None`): Its name in the source; `None` if nothing there fits.
        target (`str` or `None`): Its name in what is written; `None` if it has no place.
        shape (`tuple[int, ...]`): Of what is written, or of the source if that has no place.
        dtype (`str`): Of the source, as torch calls it; empty if there is none.
        action (`str`): "as it is", "transposed", "left out: the optimizer's" and the like.
        problem (`str` or `None`): [`NO_PLACE`], [`NO_SOURCE`], [`OTHER_SHAPE`], or `None`.
    """

    source: str | None
    target: str | None
    shape: tuple[int, ...]
    dtype: str
    action: str
    problem: str | None = None


@dataclass(frozen=True)
class PartPlan:
    """
    The plan of one model.

    Args:
        name (`str`): `"discriminator"` or `"generator"` where there are two, else empty.
        class_name (`str`): The class that its tensors are named after.
        steps (`tuple[Step, ...]`): A step for each tensor of the source, and for each of the model that lacks one.
    """

    name: str
    class_name: str
    steps: tuple[Step, ...]

    def with_problem(self, *problems: str) -> list[Step]:
        """Return the steps that have one of the problems."""
        return [step for step in self.steps if step.problem in problems]


@dataclass(frozen=True)
class ConversionPlan:
    """
    What a conversion would do. Printed, it is a table.

    Args:
        source (`str`): What would be converted.
        result (`str`): What would be written, in words.
        parts (`tuple[PartPlan, ...]`): A model each.
        assumptions (`tuple[str, ...]`, *optional*): What the source does not say, and what is taken instead.
    """

    source: str
    result: str
    parts: tuple[PartPlan, ...]
    assumptions: tuple[str, ...] = field(default=())

    @property
    def unmatched(self) -> list[str]:
        """Names in the source that have no place and are not known to need none."""
        return [step.source for part in self.parts for step in part.with_problem(NO_PLACE)]

    @property
    def missing(self) -> list[str]:
        """Names in what would be written that nothing in the source fits."""
        return [step.target for part in self.parts for step in part.with_problem(NO_SOURCE)]

    def refuse_problems(self, argument: str, allow_unmatched: bool) -> str | None:
        """
        Return in words what was allowed to be unmatched, if anything.

        Args:
            argument (`str`): What the caller's argument is called, for error messages.
            allow_unmatched (`bool`): Whether tensors may get lost, and parameters stay random.

        Raises:
            ValueError: There is something unmatched that is not allowed, or a tensor has another shape than it needs.
        """
        for part in self.parts:
            if wrong := part.with_problem(OTHER_SHAPE):
                raise ValueError(
                    f"`{argument}` ({self.source!r}) must hold all weights of {part.class_name} in the shapes of its "
                    f"configuration; {listed([f'{step.target} {step.action}' for step in wrong])}. Check that config.json "
                    "and weights belong together."
                )
        found = []
        if self.missing:
            classes = ", ".join(part.class_name for part in self.parts if part.with_problem(NO_SOURCE))
            found.append(f"{classes} would keep random weights, since nothing is there for {listed(self.missing)}")
        if self.unmatched:
            found.append(f"no place is known for {listed(self.unmatched)}, which would be lost")
        if not found:
            return None
        if not allow_unmatched:
            raise ValueError(
                f"`{argument}` ({self.source!r}) does not fit: {'; '.join(found)}. Look at the whole mapping with `--dry-run`, "
                "and if this is meant, allow it with `allow_unmatched=True` (`--allow-unmatched`)."
            )
        return "; ".join(found)

    def __str__(self) -> str:
        lines = [f"{self.source} -> {self.result}", *(f"assumed: {text}" for text in self.assumptions)]
        for part in self.parts:
            lines += ["", f"{part.name + ': ' if part.name else ''}{part.class_name}", *_table(part.steps)]
        return "\n".join(lines)


def listed(names: list[str], limit: int = 3) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _table(steps: tuple[Step, ...]) -> list[str]:
    rows = [("source", "becomes", "shape", "dtype", "")]
    for step in steps:
        becomes = "(the same name)" if step.target == step.source else step.target or "-"
        shape = "x".join(map(str, step.shape)) or "1"
        what = f"{step.problem}: {step.action}" if step.problem else step.action
        rows.append((step.source or "-", becomes, shape, step.dtype, what))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    table = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    counts: dict[str, int] = {}
    for step in steps:
        kind = step.problem or ("left out" if step.action.startswith("left out") else step.action)
        counts[kind] = counts.get(kind, 0) + 1
    return ["  " + line.rstrip() for line in table] + ["  " + ", ".join(f"{n} {kind}" for kind, n in counts.items())]


__all__ = ["ConversionPlan", "PartPlan", "Step", "listed"]
