"""The main job, on little text and for seconds: what it writes opens, and its figures are those of the run."""

import json

import pytest
import torch
import transformers

from electra_plus.recipes import quickstart as job
from electra_plus.recipes.quickstart_report import gains


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the output folder and the figures of a short run."""
    output = tmp_path_factory.mktemp("quickstart") / "out"
    read_documents, read_examples = job.read_documents, job.read_examples
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "read_documents", lambda paths: [document[:150] for document in read_documents(paths)])
        patch.setattr(job, "read_examples", lambda path: read_examples(path)[:120])
        patch.setattr(job, "FEW_LABELS", (40, 2, 2))
        patch.setattr(job, "MANY_LABELS", (120, 1, 1))
        yield output, job.quickstart(str(output), steps=60)
    transformers.utils.logging.set_verbosity_warning()
    transformers.utils.logging.enable_progress_bar()


def test_figures_are_saved_and_cover_both_stages(finished):
    output, figures = finished
    assert json.loads((output / "figures.json").read_text(encoding="utf-8")) == figures
    stages = [point["stage"] for point in figures["curve"]]
    assert stages == ["masked LM"] * 5 + ["detection"] * 5
    assert [point["step"] for point in figures["curve"]] == [9, 18, 27, 36, 44, 4, 7, 10, 13, 16]
    seconds = [point["seconds"] for point in figures["curve"]]
    assert seconds == sorted(seconds)
    losses = [point["masked_lm_loss"] for point in figures["curve"] if point["stage"] == "masked LM"]
    assert losses[-1] < losses[0]


def test_table_has_a_baseline_and_pairs_with_the_same_sentences(finished):
    rows = finished[1]["accuracies"]
    assert [(row["name"], row["num_labels"], row["num_held_out"], len(row["accuracies"])) for row in rows] == [
        ("always the larger class", 0, 240, 1),
        ("from scratch", 40, 200, 2),
        ("pretrained", 40, 200, 2),
        ("from scratch", 120, 120, 1),
        ("pretrained", 120, 120, 1),
    ]
    assert all(0 <= accuracy <= 1 for row in rows for accuracy in row["accuracies"])


def test_gain_is_the_mean_of_paired_differences():
    table = [
        {"name": "always the larger class", "num_labels": 9, "accuracies": [0.5]},
        {"name": "from scratch", "num_labels": 4, "accuracies": [0.6, 0.7]},
        {"name": "pretrained", "num_labels": 4, "accuracies": [0.7, 0.7]},
        {"name": "from scratch", "num_labels": 9, "accuracies": [0.8]},
        {"name": "pretrained", "num_labels": 9, "accuracies": [0.7]},
    ]
    (few, gain, error), (many, loss, none) = gains(table)
    assert (few, many, none) == (4, 9, None)
    # differences 0.1 and 0: standard deviation 0.0707, over the root of 2
    assert (gain, error, loss) == (pytest.approx(0.05), pytest.approx(0.05), pytest.approx(-0.1))


def test_pipelines_open_what_was_saved(finished):
    output, _ = finished
    answer = transformers.pipeline("text-classification", model=str(output / "sentiment"))("A good film.")[0]
    assert answer["label"] in {"negative", "positive"}
    for folder in ("masked_lm", "pretrained"):
        guesses = transformers.pipeline("fill-mask", model=str(output / folder))("she looked at [MASK] .")
        assert len(guesses) == 5
    joint, info = transformers.AutoModelForPreTraining.from_pretrained(output / "pretrained", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert joint.config.generator_config.hidden_size == 16


def test_curve_is_a_picture(finished):
    pytest.importorskip("matplotlib")
    assert (finished[0] / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_word_embeddings_start_as_large_as_random_ones():
    from electra_plus import ElectraPlusConfig, ElectraPlusForMaskedLM
    from electra_plus.data.corpus import TokenRows

    class Tokenizer:
        all_special_ids = (0, 1, 2, 3, 4)

    model = ElectraPlusForMaskedLM(ElectraPlusConfig.preset("modern-tiny", vocab_size=300, generator_config=None))
    weight = model.get_input_embeddings().weight
    before = weight.detach().clone()
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 290, (64,), generator=rng).tolist() for _ in range(200)]
    job.start_from_cooccurrence(model, TokenRows(rows), Tokenizer())
    assert torch.equal(weight[:5], before[:5]) and torch.equal(weight[290:], before[290:])
    assert weight[5:290].std().item() == pytest.approx(model.config.initializer_range, rel=0.1)
