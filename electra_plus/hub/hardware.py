"""What a training ran on, and an estimate of what it drew."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from electra_plus.version import __version__

# Watts of a busy device by its makers' figures: the first name found in that of the device.
GPU_WATTS = (
    ("H200", 700), ("H100 PCIe", 350), ("H100", 700), ("A100-PCIE", 300), ("A100", 400), ("L40", 300), ("L4", 72), ("V100", 300),
    ("T4", 70), ("RTX 4090", 450), ("RTX 3090", 350), ("A10", 150),
)  # fmt: skip
OTHER_GPU_WATTS = 300
CORE_WATTS = 8  # a busy core: 65 W of a desktop processor with 8 of them; server cores take about half


def processor_name() -> str:
    """Return the processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_machine(num_processes: int = 1, on_cpu: bool | None = None) -> dict[str, Any]:
    """
    Return what a training runs on.

    Args:
        num_processes (`int`, *optional*, defaults to 1): Processes of the training; on GPUs each has one.
        on_cpu (`bool`, *optional*): `None` says yes where there is no accelerator.

    Returns:
        `dict`: `processor`, `threads` (of all processes), `device` and `num_devices` of a GPU run, `watts` (an estimate of what the
        busy parts draw, by their makers' figures), and `versions`.
    """
    import torch

    on_cpu = not torch.cuda.is_available() if on_cpu is None else on_cpu
    threads = min(torch.get_num_threads() * num_processes, os.cpu_count() or 1)
    found: dict[str, Any] = {"processor": processor_name(), "threads": threads}
    if on_cpu:
        found["watts"] = CORE_WATTS * threads
    else:
        name = torch.cuda.get_device_name()
        watts = next((watts for part, watts in GPU_WATTS if part in name), OTHER_GPU_WATTS)
        found |= {"device": name, "num_devices": num_processes, "watts": watts * num_processes}
    found["versions"] = {"electra_plus": __version__, **_versions("torch", "transformers")}
    return found


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder
            continue
    return found


__all__ = ["describe_machine", "processor_name"]
