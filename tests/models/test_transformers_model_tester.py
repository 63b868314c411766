"""
transformers' own model tests pass for every text model in both flavours.

They come with the source archive of the installed transformers version, which is fetched once into the user's cache. The
archive calls its folder `tests`, as we do, so the suite runs in a process of its own.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

CASES = [f"{flavour}{kind}Test" for flavour in ("Classic", "Modern") for kind in ("Heads", "Decoder", "Joint")]
WANTED = ("test_modeling_common.py", "test_configuration_common.py")
# The two files import these from folders that the archive leaves out. Export and generation tests are lost with them.
STAND_INS = {
    "__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
}


def fetch_transformers_tests(folder: Path) -> None:
    """Make `folder` an import root with transformers' test files as the package `tests`."""
    version = importlib.metadata.version("transformers")
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        pip = [sys.executable, "-m", "pip", "--quiet"]
        archive_only = ["--no-deps", "--no-binary", "transformers"]
        subprocess.run([*pip, "download", f"transformers=={version}", *archive_only, "--dest", work], check=True)
        root = Path(work) / "root"
        subprocess.run([*pip, "install", "--no-deps", "--target", root, "parameterized"], check=True)
        for name, content in STAND_INS.items():
            path = root / "tests" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        with tarfile.open(next(Path(work).glob("*.tar.gz"))) as archive:
            for name in WANTED:
                source = archive.extractfile(f"transformers-{version}/tests/{name}")
                (root / "tests" / name).write_bytes(source.read())
        shutil.move(root, folder)  # only now, so that a broken download leaves no half folder


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Counter]:
    """How many tests of each case passed, were skipped, or failed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "electra_plus-tests"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"transformers-{importlib.metadata.version('transformers')}"
    if not root.exists():
        fetch_transformers_tests(root)
    here = Path(__file__).parent
    report = tmp_path_factory.mktemp("suite") / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        f"--junitxml={report}",
        str(here / "transformers_suite.py"),
    ]
    # our own settings would collect doctests and set our `tests` folder above the archive's
    command += ["-c", os.devnull, f"--rootdir={root}", "--noconftest", "-p", "no:cacheprovider"]
    command += ["--import-mode=importlib", "-o", "python_files=transformers_suite.py"]
    package = here.parent.parent
    paths = os.pathsep.join(map(str, (root, package, here.parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert report.exists(), run.stdout[-5000:] + run.stderr[-5000:]
    counts = {case: Counter() for case in CASES}
    for test in ElementTree.parse(report).iter("testcase"):
        results = {child.tag for child in test}
        outcome = "failed" if results & {"failure", "error"} else "skipped" if "skipped" in results else "passed"
        counts[test.get("classname").rpartition(".")[2]][outcome] += 1
        if outcome == "failed":
            print(test.get("classname"), test.get("name"))
    if run.returncode != 0:
        print(run.stdout[-20000:])
    return counts


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("case", CASES)
def test_transformers_own_tests_pass(outcomes, case):
    counts = outcomes[case]
    print(dict(counts))
    assert counts["failed"] == 0
    # stock ELECTRA passes 106; far fewer would mean that the tests were not found
    assert counts["passed"] >= 100
