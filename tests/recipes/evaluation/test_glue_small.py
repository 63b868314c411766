"""The fine-tuning suite on made-up tasks: it learns, goes on where it stopped, and refuses data it cannot use."""

import gzip
import json
import random

import pytest
import transformers
from model_helpers import small_config

from electra_plus import ElectraPlusForReplacedTokenDetection
from electra_plus.recipes.evaluation import glue_small as suite
from electra_plus.recipes.evaluation.glue_small import (
    GlueSmallSettings,
    glue_small,
    glue_small_table,
    load_classifier,
    summary,
)
from electra_plus.recipes.evaluation.glue_tasks import TASKS, read_task, rows_of_split
from electra_plus.recipes.evaluation.suites import evaluate


def made_up_rows(name: str, count: int) -> list[dict]:
    """Rows of many lengths whose first word tells the label."""
    rng = random.Random(count)
    rows = []
    for index in range(count):
        good = index % 2
        text = f"{'love' if good else 'terrible'} {rng.choice(['the cat ', 'this phone ', 'the river ']) * rng.randint(1, 4)}"
        texts = {"sentence1": text, "sentence2": "the mat"} if TASKS[name].pair else {"sentence": text}
        rows.append({**texts, "label": good if TASKS[name].num_labels == 2 else good * 3.5})
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("glue")
    for name in TASKS:
        (folder / name).mkdir()
        ending = ".en.jsonl.gz" if name == "stsb" else ".jsonl.gz"
        for split, count in (("train", 48), ("validation", 16)):
            with gzip.open(folder / name / f"{split}{ending}", "wt", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in made_up_rows(name, count))
    return str(folder)


def quick(**overrides) -> GlueSmallSettings:
    return GlueSmallSettings(**{"seeds": [0], "epochs": 8, "learning_rate": 3e-3, "batch_size": 8, **overrides})


def test_every_task_is_learned(joint_folder, data):
    figures = glue_small(joint_folder, [data], quick())
    assert list(figures["tasks"]) == list(TASKS) and set(figures["runs"]) == {f"{name}/0" for name in TASKS}
    for name in ("cola", "rte", "mrpc", "sst2"):
        assert figures["runs"][f"{name}/0"][TASKS[name].metric] == 1.0, name
    assert figures["runs"]["stsb/0"]["spearman"] > 0.8  # perfect: 0.866, the labels have ties
    assert figures["constants"]["cola"] == {"matthews": 0.0} and figures["constants"]["rte"] == {"accuracy": 0.5}
    assert figures["constants"]["stsb"] == {"spearman": 0.0}
    assert figures["mean"] == pytest.approx(sum(row["mean"] for row in figures["tasks"].values()) / 5)
    header, _, *lines = glue_small_table(figures).splitlines()
    assert header.split() == ["task", "one", "label", "seed", "0", "mean", "std"]
    assert [line.split()[0] for line in lines] == ["cola", "rte", "mrpc", "mrpc", "sst2", "stsb", "mean"]


def test_seed_gives_the_same_scores_again(joint_folder, data):
    settings = quick(tasks=["stsb"], epochs=1)
    first = glue_small(joint_folder, [data], settings)
    assert glue_small(joint_folder, [data], settings)["runs"] == first["runs"]
    assert glue_small(joint_folder, [data], quick(tasks=["stsb"], epochs=1, seeds=[1]))["runs"] != first["runs"]


def test_rows_grouped_by_length_keep_their_labels(joint_folder, data):
    figures = glue_small(joint_folder, [data], quick(tasks=["rte", "stsb"], group_by_length=True))
    assert figures["runs"]["rte/0"]["accuracy"] == 1.0 and figures["runs"]["stsb/0"]["spearman"] > 0.8


def test_stopped_suite_goes_on_and_takes_more_seeds(joint_folder, data, tmp_path, monkeypatch):
    done = []

    def finetune_once(model, task, rows, settings, seed, bar):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append((task.name, seed))
        return dict.fromkeys(task.metrics, 0.5 + 0.1 * seed)

    monkeypatch.setattr(suite, "finetune_once", finetune_once)
    output = str(tmp_path / "glue.json")
    with pytest.raises(KeyboardInterrupt):
        evaluate(joint_folder, "glue-small", data, output, tasks=["cola", "mrpc"], seeds=[0, 1])
    saved = json.loads((tmp_path / "glue.json").read_text())
    assert set(saved["figures"]["runs"]) == {"cola/0", "cola/1", "mrpc/0"}
    done.clear()
    result = evaluate(joint_folder, "glue-small", data, output, tasks=["cola", "mrpc"], seeds=[0, 1])
    assert done == [("mrpc", 1)]
    assert result["figures"]["tasks"]["mrpc"]["mean"] == pytest.approx(0.55)
    done.clear()
    result = evaluate(joint_folder, "glue-small", data, output, tasks=["cola"], seeds=[0, 2])
    assert done == [("cola", 2)] and result["figures"]["tasks"]["cola"]["seeds"] == [0, 1, 2]
    assert json.loads((tmp_path / "glue.json").read_text()) == result


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"learning_rate": 1e-4}, "learning_rate"), ({"limit": 8, "epochs": 2.0}, "epochs and limit")],
)
def test_runs_of_another_kind_are_not_mixed(changes, named, joint_folder, data, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "finetune_once", lambda *rest: {"matthews": 0.5})
    output = str(tmp_path / "glue.json")
    evaluate(joint_folder, "glue-small", data, output, tasks=["cola"], seeds=[0])
    before = (tmp_path / "glue.json").read_text()
    with pytest.raises(ValueError, match=f"holds runs with other {named}. Give another name"):
        evaluate(joint_folder, "glue-small", data, output, tasks=["cola"], seeds=[1], **changes)
    assert (tmp_path / "glue.json").read_text() == before


def test_summary_has_no_deviation_for_one_seed():
    runs = {"cola/1": {"matthews": 0.2}, "rte/0": {"accuracy": 0.5}, "rte/1": {"accuracy": 0.7}}
    tasks = summary(runs, {})["tasks"]
    assert tasks["cola"]["std"] is None and tasks["rte"]["std"] == pytest.approx(0.02**0.5)
    assert summary(runs, {})["mean"] == pytest.approx(0.4)


def test_file_of_a_split_is_the_plain_one_then_the_english_one_then_the_only_one(tmp_path):
    def write(name: str) -> None:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(tmp_path / name, "wt") as file:
            file.write(json.dumps({"from": name}) + "\n")

    with pytest.raises(FileNotFoundError, match="has no file for the split train. Name one train.jsonl"):
        rows_of_split(tmp_path, "train")
    write("train_first.jsonl.gz")
    assert rows_of_split(tmp_path, "train") == [{"from": "train_first.jsonl.gz"}]
    write("train.zh.jsonl")
    with pytest.raises(
        ValueError, match=r"has \['train.zh.jsonl', 'train_first.jsonl.gz'\] for the split train. Name one"
    ):
        rows_of_split(tmp_path, "train")
    write("train.en.jsonl.gz")
    assert rows_of_split(tmp_path, "train") == [{"from": "train.en.jsonl.gz"}]
    write("train.jsonl")
    assert rows_of_split(tmp_path, "train") == [{"from": "train.jsonl"}]


def test_training_rows_are_cut_and_validation_rows_are_not(data):
    train, validation = read_task(data, TASKS["sst2"], limit=10)
    assert (len(train), len(validation)) == (10, 16)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sentence": "a"}, r"line 2 lacks \['label'\]: cola has \['sentence', 'label'\]"),
        ({"text": "a", "label": 1}, r"line 2 lacks \['sentence'\]"),
        ({"sentence": "a", "label": 2}, "line 2: `label` must be a class from 0 to 1, got 2"),
        ({"sentence": "a", "label": "good"}, "must be a class from 0 to 1, got 'good'"),
    ],
)
def test_rows_that_are_no_task_are_refused(row, message, tmp_path):
    (tmp_path / "cola").mkdir()
    rows = [{"sentence": "a", "label": 1}, row]
    for split in ("train", "validation"):
        (tmp_path / "cola" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=message):
        read_task(tmp_path, TASKS["cola"])


def test_unknown_task_and_missing_folder_are_refused_before_training(joint_folder, data, tmp_path):
    with pytest.raises(ValueError, match=r"`--tasks` has \['wnli'\].*Choose among \['cola'"):
        glue_small(joint_folder, [data], quick(tasks=["cola", "wnli"]))
    with pytest.raises(FileNotFoundError, match="`--data` must be one folder"):
        glue_small(joint_folder, [str(tmp_path / "nowhere")], quick())
    with pytest.raises(FileNotFoundError, match="needs .*cola/train.jsonl"):
        glue_small(joint_folder, [str(tmp_path)], quick())


def test_checkpoint_of_another_architecture_or_without_encoder_is_refused(joint_folder, tmp_path, tokenizer):
    transformers.GPT2Config(vocab_size=99).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has model type 'gpt2'; glue-small needs"):
        load_classifier(str(tmp_path), TASKS["cola"])
    model = ElectraPlusForReplacedTokenDetection(small_config())
    kept = {name: value for name, value in model.state_dict().items() if "layer.1" not in name}
    model.save_pretrained(tmp_path, state_dict=kept)
    with pytest.raises(ValueError, match="lacks weights of the encoder, such as 'electra.encoder.layer.1"):
        load_classifier(str(tmp_path), TASKS["cola"])
    classifier = load_classifier(joint_folder, TASKS["stsb"])[1]
    assert classifier.config.problem_type == "regression" and classifier.num_labels == 1
