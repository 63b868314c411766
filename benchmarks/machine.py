"""What a result was measured on, how memory is read, and where results go."""

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, str | int]:
    """Describe processor, threads and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "electra-plus")},
    }


def peak_resident_bytes() -> int:
    """Return the resident set's peak so far (Linux). Not `ru_maxrss`: a child process starts with its parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def forget_peak() -> None:
    """Let the resident set's peak begin anew from what is resident now: building a model may have needed more (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def printed_by_fresh_process(code: str) -> int:
    """Run code that may import the benchmarks in an interpreter of its own; return the number it prints."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{code}"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def save_result(name: str, result: dict) -> Path:
    """Write `results/<name>.json` with the machine beside the figures."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n", encoding="utf-8")
    return file
