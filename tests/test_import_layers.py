"""Imports point down, `models/` can be copied beside the weights, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import electra_plus

ROOT = Path(electra_plus.__file__).parent
# What a part may import from the package, besides itself. `version` and the models' registration sit in between.
LAYERS = {
    "models": set(),
    "data": set(),
    "metrics": set(),
    "optim": set(),
    "registration": {"models"},
    "folders": set(),
    "pipelines": {"models", "data", "metrics", "optim", "registration"},
    "compression": {"models", "data", "metrics", "optim", "registration"},
    "conversion": {"models", "data", "metrics", "optim", "registration", "folders"},
    "export": {"models", "data", "metrics", "optim", "registration", "folders", "pipelines"},
    # what is published has a pipeline, or becomes a stock model; a trainer publishes
    "hub": {"models", "data", "metrics", "optim", "registration", "folders", "pipelines", "conversion", "version"},
    "training": {"models", "data", "metrics", "optim", "registration", "hub"},
}
TOP_LAYERS = {"recipes", "cli", "samples", "__init__", "__main__", "version"}
SOURCES = sorted(ROOT.rglob("*.py"))


def imported_names(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    part = part_of(path)
    assert part in LAYERS or part in TOP_LAYERS, f"{part} has no layer yet: give it one in this test"
    if part in TOP_LAYERS:
        return
    for name, level in imported_names(path):
        if name.startswith("electra_plus") and level == 0:
            parts = name.split(".")
            target = parts[1] if len(parts) > 1 else "__init__"
            assert target in LAYERS[part] | {part}, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda path: path.name)
def test_models_folder_is_flat_and_portable(path):
    assert path.parent == ROOT / "models", "no sub-folders: remote code is copied into one folder"
    for name, level in imported_names(path):
        if level:
            assert level == 1 and name and "." not in name, (
                f"{path.name}: write `from .name import`, not {level} {name!r}"
            )
        else:
            allowed = {"torch", "transformers", "huggingface_hub", "safetensors", *sys.stdlib_module_names}
            assert name.split(".")[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_models_import_relatively(path):
    if part_of(path) != "models":
        assert not any(level for _, level in imported_names(path)), "outside models/ imports are absolute"


def test_import_loads_no_heavy_library():
    # accelerate is not in the list: transformers' own model base class loads it where it is installed
    heavy = [
        "transformers.trainer",
        "transformers.training_args",
        "datasets",
        "evaluate",
        "sklearn",
        "seqeval",
        "sacrebleu",
        "matplotlib",
        "pandas",
    ]
    code = f"import sys, electra_plus; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(result.stdout) == []
