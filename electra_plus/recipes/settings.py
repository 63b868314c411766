"""Settings of a recipe: a dataclass filled from a YAML file and from the command line, with errors that name the key."""

import dataclasses
import json
import types
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml

from electra_plus.folders import refuse_file

Settings = TypeVar("Settings")


def load_settings(
    settings_class: type[Settings], path: str | Path | None, overrides: dict[str, Any], base: str | Path | None = None
) -> Settings:
    """
    Read a YAML file into a settings dataclass.

    Args:
        settings_class: A dataclass.
        path: The file, or `None` to use only `overrides`.
        overrides: Values that replace the file's; those that are `None` are left out.
        base: A file whose values count where `path` has none. Mappings in several places are joined.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is no mapping, a key is unknown or missing, or a value has the wrong type.
    """
    values = _read_yaml(base) if base is not None else {}
    given = {key: value for key, value in overrides.items() if value is not None}
    for later in (_read_yaml(path) if path is not None else {}, given):
        for key, value in later.items():
            both = isinstance(value, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **value} if both else value
    fields = {field.name: field for field in dataclasses.fields(settings_class)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"Unknown setting {unknown}. Known: {sorted(fields)}.")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"Missing setting {missing}. Put it into the file or give it on the command line.")
    hints = typing.get_type_hints(settings_class)
    for name, value in values.items():
        values[name] = _checked(name, value, hints[name])
    return settings_class(**values)


def _read_yaml(path: str | Path) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"`--config {file}` does not exist.")
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"`{file}` is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"`{file}` must hold `key: value` lines, got {type(values).__name__}.")
    return values


def _checked(name: str, value: Any, hint: Any) -> Any:
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = tuple(typing.get_origin(kind) or kind for kind in allowed)
    if list in plain and isinstance(value, str):  # one file is a list of one
        return [value]
    if float in plain and isinstance(value, str):  # YAML reads 5e-4 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, bool) and bool not in plain:
        pass
    elif isinstance(value, plain) or (float in plain and isinstance(value, int)):
        return value
    wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in plain)
    raise ValueError(f"`{name}` must be {wanted}, got {value!r}.")


def training_arguments(arguments_class: type, output_dir: str, defaults: dict[str, Any], given: dict[str, Any]):
    """
    Return training arguments from a recipe's defaults and what the user gave under HF's own names.

    Args:
        arguments_class (`type`): [`~transformers.TrainingArguments`] or a class derived from it.
        output_dir (`str`): Where checkpoints go.
        defaults, given (`dict`): Arguments by name; what is given counts.

    Raises:
        ValueError: A name that the class does not have, or `output_dir` is a file.
    """
    import torch

    refuse_file(output_dir)
    known = {field.name for field in dataclasses.fields(arguments_class)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"`training` has {unknown}, which {arguments_class.__name__} does not know.")
    numbers = {name: _number(value) for name, value in given.items()}
    own = {"output_dir": output_dir, "dataloader_pin_memory": torch.accelerator.is_available()}
    return arguments_class(**{**own, **defaults, **numbers})


def same_run(
    settings: Any, file: Path, ignored: Collection[str], inputs: dict[str, str] | None = None
) -> bool | list[str]:
    """
    Say whether the run whose settings a file keeps had these settings.

    Args:
        settings: A dataclass.
        file (`Path`): What [`keep_settings`] wrote.
        ignored (`Collection[str]`): Settings, and keys of `training`, that change nothing in the result.
        inputs (`dict[str, str]`, *optional*): Hashes of what the run reads, as [`keep_settings`] got them.

    Returns:
        `True`, or the names of what differs; `["settings"]` if the file is not there or cannot be read.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ["settings"]
    given = json.loads(json.dumps({**dataclasses.asdict(settings), **(inputs or {})}))
    for each in (kept, given):
        each.pop("output_dir", None)  # a folder may be moved
    flat = [
        {
            **{key: value for key, value in each.items() if key != "training" and key not in ignored},
            **{f"training.{key}": value for key, value in each["training"].items() if key not in ignored},
        }
        for each in (kept, given)
    ]
    missing = object()
    differing = [
        key for key in sorted(set(flat[0]) | set(flat[1])) if flat[0].get(key, missing) != flat[1].get(key, missing)
    ]
    return differing or True


def keep_settings(settings: Any, file: Path, inputs: dict[str, str] | None = None) -> None:
    """Write a settings dataclass beside what it makes, and hashes of what is read, for [`same_run`] and for people."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.new")
    content = {**dataclasses.asdict(settings), **(inputs or {})}
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(file)


def recipe_file(name: str, command: str = "pretraining") -> Path:
    """
    Return the YAML file of a recipe that ships.

    Args:
        name (`str`): As on the command line.
        command (`str`, *optional*, defaults to `"pretraining"`): Or `"finetuning"`.

    Raises:
        ValueError: There is none of that name.
    """
    folder = Path(__file__).parent / "configs" / command
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise ValueError(f"`--recipe` must be one of {known}, got {name!r}.")
    return folder / f"{name}.yaml"


def _number(value: Any) -> Any:
    """YAML 1.1 takes `5e-4` for a string; a training argument never is a string that reads as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
