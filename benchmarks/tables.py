"""
Writes the tables of the README and of `docs/` from `results/*.json`, between the markers of the same name.

    python benchmarks/tables.py           # rewrite the pages
    python benchmarks/tables.py --check   # exit 1 if one is out of date
"""

import argparse
import re
import sys
from pathlib import Path

from pretraining_tables import (
    costs,
    detection_start,
    encoder,
    faults,
    gpu,
    gpu_models,
    half_hour,
    objectives,
    preparation,
    quickstart,
)
from table_parts import FOLDER
from task_tables import (
    augmentation,
    example_scripts,
    finetuning,
    generation,
    loading,
    long_context,
    onnx_runtime,
    pipelines,
    tasks,
    translation,
)

PAGES = (FOLDER.parent / "README.md", *sorted((FOLDER.parent / "docs").glob("*.md")))


# marker in a page: the table, and the results it is made of
TABLES = {
    "quickstart": (quickstart, ("quickstart",)),
    "benchmarks": (costs, ("pretraining", "import_time")),
    "encoder": (encoder, ("encoder",)),
    "long texts": (long_context, ("long_context",)),
    "objectives": (objectives, ("objectives",)),
    "detection start": (detection_start, ("detection_start",)),
    "preparation": (preparation, ("preparation",)),
    "half an hour": (half_hour, ("half_hour",)),
    "faults": (faults, ("faults",)),
    "gpu": (gpu, ("gpu_speed",)),
    "gpu models": (gpu_models, ("gpu_pretraining", "gpu_masked_lm_english", "gpu_masked_lm_chinese")),
    "fine-tuning": (finetuning, ("finetuning",)),
    "tasks": (tasks, ("tasks",)),
    "translation": (translation, ("translation",)),
    "generation": (generation, ("generation",)),
    "example scripts": (example_scripts, ("example_scripts",)),
    "augmentation": (augmentation, ("augmentation",)),
    "pipelines": (pipelines, ("pipelines",)),
    "loading": (loading, ("loading",)),
    "onnx runtime": (onnx_runtime, ("onnx_runtime",)),
}


def filled(pages: dict[Path, str]) -> dict[Path, str]:
    """Return the text of pages with every table in its place."""
    pages = dict(pages)
    for marker, (table, results) in TABLES.items():
        places = [page for page, text in pages.items() if f"<!-- {marker} -->" in text]
        if len(places) != 1:
            raise ValueError(f"One page must hold `<!-- {marker} -->`, found it in {[page.name for page in places]}.")
        if not all((FOLDER / "results" / f"{name}.json").exists() for name in results):
            continue  # not measured yet: the place stays as it is
        pattern = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
        pages[places[0]], count = re.subn(
            pattern,
            lambda match, table=table: f"{match[1]}{table()}\n{match[2]}",
            pages[places[0]],
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"{places[0].name} must hold `<!-- {marker} -->` and its end once, found {count}.")
    return pages


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    old = {page: page.read_text(encoding="utf-8") for page in PAGES}
    new = filled(old)
    for page, text in new.items():
        if text != old[page] and not check:
            page.write_text(text, encoding="utf-8")
    return int(check and new != old)


if __name__ == "__main__":
    sys.exit(main())
