"""The Hub of these tests, and a process that can reach only it."""

import os
import subprocess
import sys

import huggingface_hub
import pytest
import transformers
from local_hub import TOKEN, LocalHub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on the loopback that this process takes for the real one, with an empty cache."""
    hub = LocalHub()
    # what huggingface_hub reads from the environment when it is imported
    constants = huggingface_hub.constants
    for name, value in {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.endpoint)
    if hasattr(transformers.utils.hub, "_hf_api"):
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
    for name, value in environment(hub, tmp_path).items():
        monkeypatch.setenv(name, value)
    yield hub
    hub.close()


def environment(hub: LocalHub, folder) -> dict[str, str]:
    """Variables with which a process takes this Hub for the real one."""
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_CACHE": str(folder / "cache"),
        "HF_MODULES_CACHE": str(folder / "modules"),
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def elsewhere(hub, tmp_path):
    """Run code in a fresh process with a cache of its own; return what it printed."""

    def run(code: str, *arguments: str, fails: bool = False) -> str:
        caches = environment(hub, tmp_path / "elsewhere")
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env={**os.environ, **caches},
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stderr[-3000:]
        assert TOKEN not in done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run
