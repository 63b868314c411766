"""
Folders whose pipelines work without this package: `transformers.pipeline(task, folder, trust_remote_code=True)`.

transformers loads the code of a folder from files that lie side by side and import each other as `from .name import X`. Outside
`models/` our files import each other by absolute names, so what is written here are copies with those lines changed.
"""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

from transformers import Pipeline

from electra_plus.models.configuration_electra_plus import ElectraPlusConfig

PACKAGE = "electra_plus"
# Which class of transformers opens a folder for a task of ours there; a detector alone has none of its own.
LOADERS = {
    "extractive-qa": "AutoModelForQuestionAnswering",
    "long-text-classification": "AutoModelForSequenceClassification",
    "machine-translation": "AutoModelForSeq2SeqLM",
    "replaced-token-detection": "AutoModelForPreTraining",
}
# Also by the name that transformers 5 dropped: what a folder calls its own, `transformers.pipeline` takes.
OLD_NAMES = {"extractive-qa": "question-answering", "machine-translation": "translation"}


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


def save_with_code(pipe: Pipeline, folder: str | Path) -> Path:
    r"""
    Save a pipeline of ours so that it works in a process without this package.

    The folder holds model, tokenizer and the code of both; `config.json` names it in `auto_map` (models of this package) and
    `custom_pipelines`. Where the package is installed, `electra_plus.pipeline` opens the folder as any other, and
    `transformers.pipeline` asks for `trust_remote_code=True` there too.

    Args:
        pipe ([`Pipeline`]): With a task that transformers does not have: one of [`LOADERS`].
        folder (`str` or `Path`): Where to save.

    Returns:
        `Path`: the folder.

    Raises:
        ValueError: The pipeline is a stock one, its task is one that transformers has a pipeline for, or a stock
            encoder-decoder holds models of this package, which transformers opens without looking for their code.

    Example:

    ```python
    save_with_code(electra_plus.pipeline("replaced-token-detection", "joint"), "for-everyone")
    # elsewhere, without the package
    transformers.pipeline("replaced-token-detection", "for-everyone", trust_remote_code=True)
    ```
    """
    task, module = pipe.task, type(pipe).__module__
    if task not in LOADERS or not module.startswith(f"{PACKAGE}.pipelines."):
        raise ValueError(
            f"`pipe` must have one of the tasks {list(LOADERS)}, got {pipe.task!r} ({type(pipe).__name__}). For others "
            "`save_pretrained` is enough: transformers has a pipeline of its own."
        )
    folder = Path(folder)
    info = {
        "impl": f"{module.rsplit('.', 1)[-1]}.{type(pipe).__name__}",
        "pt": [LOADERS[task]],
        "type": "text",
    }
    files = files_of(module)
    config = pipe.model.config
    halves = [getattr(config, name, None) for name in ("encoder", "decoder")]
    if any(isinstance(half, ElectraPlusConfig) for half in halves):
        raise ValueError(
            f"`pipe` holds a {type(pipe.model).__name__} around models of this package, which cannot be opened without it. "
            "Use `pipe.save_pretrained`, and `import electra_plus` where the folder is opened."
        )
    kept = {name: getattr(config, name, None) for name in ("custom_pipelines", "auto_map")}
    config.custom_pipelines = {name: info for name in (task, OLD_NAMES.get(task)) if name}
    try:
        if isinstance(config, ElectraPlusConfig):
            model_class = type(pipe.model)
            files |= files_of(model_class.__module__)
            model_file, config_file = (cls.__module__.rsplit(".", 1)[-1] for cls in (model_class, ElectraPlusConfig))
            config.auto_map = {
                "AutoConfig": f"{config_file}.{ElectraPlusConfig.__name__}",
                LOADERS[task]: f"{model_file}.{model_class.__name__}",
            }
        pipe.save_pretrained(folder)
    finally:  # the model goes on as it was, and may be saved without code
        for name, value in kept.items():
            if value is None:
                vars(config).pop(name, None)
            else:
                setattr(config, name, value)
    for name, source in files.items():
        (folder / name).write_text(source, encoding="utf-8")
    return folder
