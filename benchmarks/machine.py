"""What a result was measured on, how memory is read, and where results go."""

import json
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path

import torch

from electra_plus import __version__

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, str | int]:
    """Describe processor, device if there is one, threads and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    device = {"device": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        "processor": model,
        **device,
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers")},
        "electra-plus": __version__,  # also where it runs from a folder that is not installed
    }


def peak_resident_bytes() -> int:
    """Return the resident set's peak so far (Linux). Not `ru_maxrss`: a child process starts with its parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def forget_peak() -> None:
    """Let the resident set's peak begin anew from what is resident now: building a model may have needed more (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def write_rows(rows: list[dict], file: Path) -> None:
    """Write rows as json lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def printed_by_fresh_process(code: str) -> int:
    """Run code that may import the benchmarks in an interpreter of its own; return the number it prints."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{code}"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def save_result(name: str, result: dict, folder: Path = RESULTS) -> Path:
    """Write `<name>.json`, in `results/` or another folder, with the machine beside the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n", encoding="utf-8")
    return file


def measured_rows(name: str, settings: dict, wanted: list[dict[str, str | int]], jobs: int = 1) -> list[dict]:
    """
    Measure the rows of a table one by one, saving `results/<name>.json` after each; return them all.

    A row that the file has from the same settings is not measured again. Each comes from a process of its own: this script
    with `--one` and the row's values, which prints its figures as json in its last line.

    Args:
        name (`str`): Of the result.
        settings (`dict`): What all rows have in common.
        wanted (`list[dict]`): What names each row, such as `{"arm": "modern", "seed": 0}`.
        jobs (`int`, *optional*, defaults to 1): Rows measured at a time, for those that use one thread and count its time.
    """
    file = RESULTS / f"{name}.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    rows = kept["rows"] if kept.get("settings") == settings else []
    missing = [key for key in wanted if not any(key.items() <= row.items() for row in rows)]

    def measure(key: dict[str, str | int]) -> dict:
        command = [sys.executable, *sys.argv, "--one", *map(str, key.values())]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return {**key, **json.loads(printed.splitlines()[-1])}

    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(measure, key) for key in missing]):
            rows.append(done.result())
            print({name: value for name, value in rows[-1].items() if not isinstance(value, list)}, flush=True)
            save_result(name, {"settings": settings, "rows": rows})
    return sorted(rows, key=lambda row: next((i for i, key in enumerate(wanted) if key.items() <= row.items()), -1))
