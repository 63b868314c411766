"""The tables of the README and of `docs/` are those that `benchmarks/tables.py` makes of the results."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_tables_are_up_to_date():
    run = subprocess.run([sys.executable, ROOT / "benchmarks" / "tables.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, f"run `python benchmarks/tables.py`\n{run.stderr}"
