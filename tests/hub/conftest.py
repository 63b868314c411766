"""The Hub of these tests, and a process that can reach only it."""

import os
import subprocess
import sys

import pytest
from local_hub import TOKEN, LocalHub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on the loopback that this process takes for the real one, with an empty cache."""
    hub = LocalHub()
    hub.use(monkeypatch, tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def elsewhere(hub, tmp_path):
    """Run code in a fresh process with a cache of its own; return what it printed."""

    def run(code: str, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env={**os.environ, **hub.environment(tmp_path / "elsewhere")},
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stderr[-3000:]
        assert TOKEN not in done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run
