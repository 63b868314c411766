"""
Do transformers' example scripts take our folders as they are, and what do they score beside the stock folder?

    electra-plus convert --model BERT --to electra-plus --output ours
    electra-plus convert --model ours --to stock --output stock
    python -c "from electra_plus.hub import carry_code; carry_code('ours')"
    python benchmarks/example_scripts.py --scripts transformers/examples/pytorch --model ours --stock stock --data DATA --name BERT

`--scripts` is a checkout's folder, or a flat one, with run_glue.py, run_ner.py, run_qa.py (and trainer_qa.py, utils_qa.py) and
run_swag.py. Their text stays as it is: it runs in a process where `electra_plus` cannot be imported, so that the code in the folder is
all there is. Both folders get the same command, `--trust_remote_code` included. The scripts' `evaluate.load` wants the network and takes a
folder of the metric's name in the working directory first: those in `script_metrics/`, which use scikit-learn and seqeval.

`DATA` holds the folders of TASKS, each with train and validation rows. COPA has two endings where SWAG has four: two of the next row are added.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from machine import measured_rows

from electra_plus.data.examples import read_examples
from electra_plus.recipes.task_data import limited

Rows = list[dict]
TRAINING = {"num_train_epochs": 1, "per_device_train_batch_size": 16, "per_device_eval_batch_size": 32, "learning_rate": 3e-4,
            "warmup_steps": 0.1, "seed": 0}  # fmt: skip
SWITCHES = ("--do_train", "--do_eval", "--trust_remote_code", "--use_cpu", "--report_to", "none",
            "--save_strategy", "no", "--logging_strategy", "no")  # fmt: skip
# Runs a script as `python script` does, but where this package cannot be found; says whether a folder's code was used.
ELSEWHERE = """
import json, runpy, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "electra_plus":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
said, sys.argv = sys.argv[1], sys.argv[2:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
modules = {name.split(".")[0] for name in sys.modules}
assert "electra_plus" not in modules
open(said, "w").write(json.dumps({"code_from_folder": "transformers_modules" in modules}))
"""


def sentences(rows: Rows) -> Rows:
    """Rows of run_glue: `sentence` and `label`, and nothing else."""
    return [{"sentence": row["sentence"], "label": row["label"]} for row in rows]


def tagged(rows: Rows) -> Rows:
    """Rows of run_ner."""
    return [{"tokens": row["tokens"], "ner_tags": row["ner_tags"]} for row in rows]


def questions(rows: Rows) -> Rows:
    """Rows of run_qa."""
    return [{name: row[name] for name in ("id", "context", "question", "answers")} for row in rows]


def endings(rows: Rows) -> Rows:
    """Rows of run_swag, of those of COPA."""
    found = []
    for row, other in zip(rows, [*rows[1:], rows[0]], strict=True):
        texts = (row["choice1"], row["choice2"], other["choice1"], other["choice2"])
        begin = {"sent1": row["premise"], "sent2": "because" if row["question"] == "cause" else "so"}
        found.append({**begin, **{f"ending{i}": text for i, text in enumerate(texts)}, "label": row["label"]})
    return found


@dataclass(frozen=True)
class Kind:
    """
    What a script is run on.

    Args:
        task (`str`): In words, for the table.
        data (`str`): Folder with train and validation rows.
        rows_of (`Callable`): Turns them into the script's.
        train, validation (`int`): Rows.
        score (`str`): Key of the script's eval_results.json.
        arguments (`dict`): Of the script besides those of all.
        under (`str`, *optional*): Key under which the script expects the rows; `None` for one a line.
    """

    task: str
    data: str
    rows_of: Callable[[Rows], Rows]
    train: int
    validation: int
    score: str
    arguments: dict = field(default_factory=dict)
    under: str | None = None


TASKS = {
    "run_glue.py": Kind("sentiment, SST-2", "sst2", sentences, 600, 436, "eval_accuracy",
                        {"max_seq_length": 128, "pad_to_max_length": False}),
    "run_ner.py": Kind("entities, WikiAnn", "wikiann_en", tagged, 600, 200, "eval_f1"),
    "run_qa.py": Kind("questions, SQuAD 1.1", "squad_v1.1_dev", questions, 240, 100, "eval_f1",
                      {"max_seq_length": 192, "doc_stride": 64, "pad_to_max_length": False}, under="data"),
    "run_swag.py": Kind("endings, COPA", "copa", endings, 240, 150, "eval_accuracy"),
}  # fmt: skip


def script_file(folder: Path, name: str) -> Path:
    """Return the one file of that name in a folder or below it."""
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise FileNotFoundError(f"`--scripts {folder}` must hold one {name}, found {len(found)}.")
    return found[0].resolve()


def run(name: str, given: argparse.Namespace, model: Path) -> dict:
    """Run a script on a folder; return its scores, or the last line of what it said."""
    kind = TASKS[name]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copytree(Path(__file__).parent / "script_metrics", work, dirs_exist_ok=True)
        for split, count in (("train", kind.train), ("validation", kind.validation)):
            rows = kind.rows_of(limited(read_examples(given.data / kind.data, split), count))
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            text = "\n".join(lines) if kind.under is None else f'{{"{kind.under}": [{", ".join(lines)}]}}'
            (work / f"{split}.json").write_text(text + "\n", encoding="utf-8")
        arguments = {"model_name_or_path": model.resolve(), "train_file": "train.json", "validation_file": "validation.json",
                     "output_dir": "out", **TRAINING, **kind.arguments}  # fmt: skip
        flags = [part for key, value in arguments.items() for part in (f"--{key}", str(value))]
        command = [
            sys.executable,
            "-c",
            ELSEWHERE,
            "said.json",
            str(script_file(given.scripts, name)),
            *flags,
            *SWITCHES,
        ]
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(work / "hub"),
            "OMP_NUM_THREADS": str(given.threads),
        }
        environment.pop("PYTHONPATH", None)
        started = time.perf_counter()
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        seconds = round(time.perf_counter() - started, 1)
        if done.returncode != 0:
            return {"error": done.stderr.strip().splitlines()[-1], "seconds": seconds}
        results = json.loads((work / "out" / "eval_results.json").read_text(encoding="utf-8"))
        said = json.loads((work / "said.json").read_text(encoding="utf-8"))
        return {"score": results[kind.score], "loss": results.get("eval_loss"), **said, "seconds": seconds}


def main() -> None:
    """Run every script on both folders, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scripts", type=Path, required=True, help="examples/pytorch of transformers, or a flat folder"
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of ours that carries its code")
    parser.add_argument("--stock", type=Path, required=True, help="stock folder of the same weights")
    parser.add_argument("--data", type=Path, required=True, help="folder with those of TASKS")
    parser.add_argument("--name", required=True, help="what the table calls the weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("SCRIPT", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(given.one[0], given, given.model if given.one[1] == "ours" else given.stock)))
        return
    scripts = {}
    for name in TASKS:
        text = script_file(given.scripts, name).read_text(encoding="utf-8")
        version = re.search(r'^check_min_version\("(.+)"\)', text, re.MULTILINE)
        scripts[name] = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "of_version": version and version[1]}
    rows = {name: {"train": kind.train, "validation": kind.validation} for name, kind in TASKS.items()}
    settings = {
        "model": given.name,
        "scripts": scripts,
        "rows_of": rows,
        "training": TRAINING,
        "num_threads": given.threads,
    }
    wanted = [{"script": name, "folder": folder} for name in TASKS for folder in ("stock", "ours")]
    measured_rows("example_scripts", settings, wanted)


if __name__ == "__main__":
    main()
