"""The table of suites, and the one function that runs any of them and keeps its result."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from electra_plus.recipes.evaluation.blimp import BlimpSettings, blimp, blimp_table
from electra_plus.recipes.evaluation.glue_small import GlueSmallSettings, glue_small, glue_small_table, runs_to_keep
from electra_plus.recipes.evaluation.loading import fingerprint
from electra_plus.recipes.evaluation.report import read_result, versions, write_json
from electra_plus.recipes.evaluation.rtd import RtdSettings, rtd, rtd_table


@dataclass(frozen=True)
class Suite:
    """
    One row of the table.

    Args:
        run (`Callable`): Takes model, data and settings, returns figures; if `resumes`, also `finished` and `save`.
        settings (`type`): Dataclass of what can be set. Its fields are the flags of the command line.
        table (`Callable`): Turns figures into text for the terminal.
        resumes (`bool`, *optional*, defaults to `False`): An unfinished result is gone on with.
    """

    run: Callable[..., dict[str, Any]]
    settings: type
    table: Callable[[dict[str, Any]], str]
    resumes: bool = False


SUITES = {
    "blimp": Suite(blimp, BlimpSettings, blimp_table),
    "rtd": Suite(rtd, RtdSettings, rtd_table),
    "glue-small": Suite(glue_small, GlueSmallSettings, glue_small_table, resumes=True),
}


def evaluate(
    model: str, suite: str, data: str | Sequence[str], output: str | None = None, **settings: Any
) -> dict[str, Any]:
    r"""
    Run a suite on a pretrained checkpoint.

    Args:
        model (`str`): Folder or Hub name.
        suite (`str`): A name in [`SUITES`].
        data (`str` or `Sequence[str]`): Files or folders, as the suite needs them.
        output (`str`, *optional*): A json file for the result. `glue-small` goes on with what it holds.
        settings: Fields of the suite's settings; `None` stands for the default.

    Returns:
        `dict`: `model`, `weights` (a hash of them), `suite`, `data`, `settings`, `figures` and `versions`, as in the file.

    Raises:
        OSError, ValueError: An argument is wrong, a file is missing, or `output` holds something else.

    Example:

    ```python
    >>> from electra_plus.recipes.evaluation.suites import evaluate
    >>> evaluate("quickstart/pretrained", "rtd", "held_out.txt", limit=100)["figures"]["auc"]  # doctest: +SKIP

    ```
    """
    if suite not in SUITES:
        raise ValueError(f"`--suite` must be one of {list(SUITES)}, got {suite!r}.")
    row = SUITES[suite]
    data = [data] if isinstance(data, str) else [str(path) for path in data]
    chosen = choose_settings(suite, settings)
    earlier = read_result(output, suite) if output is not None else None
    result = {
        "model": model,
        "weights": fingerprint(model),
        "suite": suite,
        "data": data,
        "settings": asdict(chosen),
    }

    def finish(figures: dict[str, Any]) -> dict[str, Any]:
        whole = {**result, "figures": figures, "versions": versions()}
        if output is not None:
            write_json(whole, output)
        return whole

    if not row.resumes:
        return finish(row.run(model, data, chosen))
    finished = runs_to_keep(earlier, result, output) if earlier is not None else None
    return finish(row.run(model, data, chosen, finished=finished, save=finish))


def choose_settings(suite: str, given: dict[str, Any]) -> Any:
    """
    Return the settings of a suite from what was given, `None` standing for the default.

    Raises:
        ValueError: A setting belongs to another suite, or a number is outside its range.
    """
    settings_class = SUITES[suite].settings
    given = {name: value for name, value in given.items() if value is not None}
    known = [field.name for field in dataclasses.fields(settings_class)]
    for name in given:
        if name not in known:
            owners = [other for other in SUITES if name in SUITES[other].settings.__dataclass_fields__]
            whose = f"belongs to the suite {' and '.join(owners)}" if owners else "belongs to no suite"
            raise ValueError(
                f"`{_flag(name)}` {whose}, not to {suite}, which has {[_flag(own) for own in known]}. Leave it out."
            )
    for name in ("limit", "batch_tokens", "batch_size", "epochs", "learning_rate"):
        if name in given and given[name] <= 0:
            raise ValueError(f"`{_flag(name)}` must be above 0, got {given[name]}.")
    if not 0 < given.get("mask_rate", 0.15) < 1:
        raise ValueError(f"`--mask-rate` must be in (0, 1), got {given['mask_rate']}. ELECTRA uses 0.15.")
    return settings_class(**given)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
