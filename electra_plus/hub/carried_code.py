"""
Folders whose pipelines work without this package: `transformers.pipeline(task, folder, trust_remote_code=True)`.

transformers loads the code of a folder from files that lie side by side and import each other as `from .name import X`. Outside
`models/` our files import each other by absolute names, so what is written here are copies with those lines changed.
"""

import ast
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.pipelines import OWN_TASKS, task_of_class
from electra_plus.registration import HEADS, auto_map_for

PACKAGE = "electra_plus"
# Which class of transformers opens a folder for a task of ours there; a detector alone has none of its own.
LOADERS = {
    "extractive-qa": "AutoModelForQuestionAnswering",
    "long-text-classification": "AutoModelForSequenceClassification",
    "machine-translation": "AutoModelForSeq2SeqLM",
    "replaced-token-detection": "AutoModelForPreTraining",
}
# What a folder calls its own, `transformers.pipeline` takes, also a name that transformers 5 dropped: the one people know.
OLD_NAMES = {"extractive-qa": "question-answering", "machine-translation": "translation"}
# Of a stock encoder-decoder around models of this package, which transformers would open without looking for their code.
ENCODER_DECODER = {
    "AutoConfig": "modeling_electra_plus_encoder_decoder.ElectraPlusEncoderDecoderConfig",
    "AutoModel": "modeling_electra_plus_encoder_decoder.ElectraPlusEncoderDecoderModel",
    "AutoModelForSeq2SeqLM": "modeling_electra_plus_encoder_decoder.ElectraPlusEncoderDecoderModel",
}


def files_of(module: str) -> dict[str, str]:
    """
    Return the source of a module of this package and of all that it imports from it, by flat file names.

    Raises:
        ValueError: Two modules would get one name.
    """
    found: dict[str, str] = {}
    paths: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = Path(find_spec(name).origin)
        flat = f"{name.rsplit('.', 1)[-1]}.py"
        if flat in found:
            if paths[flat] != path:
                raise ValueError(f"`{paths[flat]}` and `{path}` would both become `{flat}`. Rename one of them.")
            continue
        source = path.read_text(encoding="utf-8")
        paths[flat], found[flat] = path, with_flat_imports(source)
        parent = name.rsplit(".", 1)[0]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                waiting.append(f"{parent}.{node.module}")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
                waiting.append(node.module)
    return found


def with_flat_imports(source: str) -> str:
    """
    Let a file import its neighbours in one folder.

    Example:

    >>> print(with_flat_imports("from electra_plus.data.packing import first_fit"))
    from .packing import first_fit
    """
    return re.sub(rf"^(\s*)from {PACKAGE}\.(?:\w+\.)*(\w+) import", r"\1from .\2 import", source, flags=re.MULTILINE)


def carry_code(folder: str | Path, task: str | None = None) -> Path:
    r"""
    Put the code of a saved model beside it, so that transformers opens the folder without this package.

    `config.json` then names in `auto_map` the classes for all Auto classes, and in `custom_pipelines` the pipeline of a task of
    ours. Where the package is installed it is used instead, and nothing has to be trusted.

    Args:
        folder (`str` or `Path`): What `save_pretrained` wrote: a model of this package, a stock encoder-decoder of two of them,
            or, with a `task`, a stock model.
        task (`str`, *optional*):
            One of [`LOADERS`]. `None` is the one of the model's class; no pipeline comes along where transformers has its own.

    Returns:
        `Path`: the folder.

    Raises:
        FileNotFoundError: The folder has no config.json.
        ValueError: Another task, config.json is no JSON, or a stock model that needs no code.

    Example:

    ```python
    model.save_pretrained("tagger")
    carry_code("tagger")
    # elsewhere, without the package
    transformers.pipeline("token-classification", "tagger", trust_remote_code=True)
    ```
    """
    if task is not None and task not in LOADERS:
        raise ValueError(f"`task` must be one of {list(LOADERS)} or None, got {task!r}.")
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"`folder` must be a folder with a config.json, got {str(folder)!r}, which has none. Give what `save_pretrained` wrote."
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    auto_map = auto_map_of(config)
    if auto_map and task is None:
        task = own_task(config)
    if not auto_map and task is None:
        raise ValueError(
            f"`folder` ({str(folder)!r}) holds a stock model ({config.get('model_type')!r}), which needs no code of this package."
        )
    files: dict[str, str] = {}
    for file in sorted({place.split(".")[0] for place in auto_map.values()}):
        files |= files_of(f"{PACKAGE}.models.{file}")
    config |= {"auto_map": auto_map} if auto_map else {}
    if task is not None:
        pipeline_class = OWN_TASKS[task][0]
        module = pipeline_class.__module__
        files |= files_of(module)
        info = {"impl": f"{module.rsplit('.', 1)[-1]}.{pipeline_class.__name__}", "pt": [LOADERS[task]], "type": "text"}
        # one name: of several, `transformers.pipeline(model=folder)` would not know which is meant
        config["custom_pipelines"] = {OLD_NAMES.get(task, task): info}
    for name, source in files.items():
        (folder / name).write_text(source, encoding="utf-8")
    aside = folder / ".config.json.new"
    aside.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    aside.replace(folder / "config.json")  # last: what it names is there
    return folder


def own_task(config: dict[str, Any]) -> str | None:
    """Return the task of ours that the model of a `config.json` serves, `None` if transformers has a pipeline for it."""
    task = task_of_class((config.get("architectures") or [""])[0])
    return task if task in LOADERS else None


def auto_map_of(config: dict[str, Any]) -> dict[str, str]:
    """Return the `auto_map` of a `config.json`, an empty one for stock models."""
    if config.get("model_type") == ElectraPlusConfig.model_type:
        return auto_map_for((config.get("architectures") or [""])[0])
    halves = [config.get(name) for name in ("encoder", "decoder")]
    if any(isinstance(half, dict) and half.get("model_type") == ElectraPlusConfig.model_type for half in halves):
        return ENCODER_DECODER
    return {}


def code_files() -> set[str]:
    """Return the name of every file of code that a folder may carry: one that is not written again is of an earlier version."""
    modules = {f"{PACKAGE}.models.{head.module}" for head in HEADS}
    modules |= {f"{PACKAGE}.models.{place.split('.')[0]}" for place in ENCODER_DECODER.values()}
    modules |= {pipeline_class.__module__ for pipeline_class, _ in OWN_TASKS.values()}
    return {file for module in modules for file in files_of(module)}
