"""Small real data that ships with the package; PROVENANCE.md beside this file names sources and licences."""

from importlib.resources import files
from pathlib import Path


def sample_path(name: str) -> Path:
    """Return the path of a sample file, for example `sample_path("books.txt.gz")`."""
    return Path(str(files(__name__) / name))
