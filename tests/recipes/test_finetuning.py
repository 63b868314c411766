"""The recipe of `electra-plus finetune`: every task end to end, seeds, resuming, and settings that cannot work."""

import gzip
import json
import random
from dataclasses import replace

import huggingface_hub
import pytest
import torch
import transformers
from model_helpers import joint_config, small_config

import electra_plus
from electra_plus import ElectraPlusConfig, ElectraPlusForMaskedLM, ElectraPlusForPreTraining
from electra_plus.recipes import finetuning, finetuning_run
from electra_plus.recipes.finetuning import FineTuningSettings, default_training, figures_table, finetune
from electra_plus.recipes.prediction import evaluate_task, predict
from electra_plus.recipes.settings import load_settings, recipe_file, training_arguments
from electra_plus.recipes.tasks import TASKS, task_class
from electra_plus.training.arguments import ElectraPlusTrainingArguments

pytestmark = pytest.mark.usefixtures("one_thread")

REVIEWS = [
    {"review": f"{text} {index}", "label": label}
    for index in range(12)
    for text, label in (("I love this book", "good"), ("terrible phone", "bad"))
]
PLACES = [
    {"tokens": ["the", "cat", "sat", word], "tags": ["O", "B-animal", "O", tag]}
    for word, tag in (("London", "B-city"), ("river", "O")) * 10
]
QUESTIONS = [
    {"context": f"the {animal} sat on the mat", "question": "which animal sat?",
     "answers": {"text": [animal], "answer_start": [4]}}
    for animal in ("cat", "dog", "river") * 7
]  # fmt: skip
CHOICES = [
    {"question": "a good book?", "choices": choices, "label": choices.index("love")}
    for choices in (["love", "terrible"], ["terrible", "love", "died"]) * 8
]
LABELS = [
    {"text": text, "labels": labels}
    for text, labels in (("I love", ["x"]), ("terrible", []), ("love terrible", ["x", "y"])) * 7
]
NUMBERS = [
    {"sentence1": text, "sentence2": "a", "score": score}
    for text, score in (("terrible phone", 10.5), ("the cat sat", 31.5), ("I love this book", 52.5)) * 7
]
TEXTS = [{"text": "the cat sat on the mat while the dog was sleeping"}] * 40

# what a model this small learns in some seconds: task, rows, score that it reaches
LEARNED = {
    "text-classification": (REVIEWS, "accuracy", 1.0),
    "multi-label-classification": (LABELS, "f1_micro", 1.0),
    "regression": (NUMBERS, "spearmanr", 0.9),
    "token-classification": (PLACES, "f1", 1.0),
    "question-answering": (QUESTIONS, "f1", 100.0),
    "multiple-choice": (CHOICES, "accuracy", 1.0),
}


# for runs whose end alone matters: evaluations and checkpoints of every epoch would take most of their time
ONLY_THE_END = {"eval_strategy": "no", "save_strategy": "no"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer) -> str:
    folder = tmp_path_factory.mktemp("pretrained") / "joint"
    torch.manual_seed(0)
    ElectraPlusForPreTraining(joint_config("modern")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_jsonl(file, rows) -> str:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return str(file)


def settings(checkpoint, rows, folder, output="out", **overrides) -> FineTuningSettings:
    training = {"num_train_epochs": 1, "learning_rate": 3e-3, "layerwise_lr_decay": 1.0, "disable_tqdm": True, "use_cpu": True,
                "per_device_train_batch_size": 8} | overrides.pop("training", {})  # fmt: skip
    fields = {"model": checkpoint, "train_file": write_jsonl(folder / "train.jsonl", rows), "max_length": 32}
    return FineTuningSettings(**fields | {"output_dir": str(folder / output), "training": training} | overrides)


@pytest.mark.parametrize("name", LEARNED)
def test_task_is_guessed_and_learned_and_its_folder_predicts_again(name, checkpoint, tmp_path):
    rows, metric, score = LEARNED[name]
    given = settings(
        checkpoint, rows, tmp_path, validation_file=write_jsonl(tmp_path / "dev.jsonl", rows[:9]),
        training={"num_train_epochs": 25, "learning_rate": 5e-3, **ONLY_THE_END, "bf16": False},
    )  # fmt: skip
    figures = finetune(given)
    assert figures["task"] == name and figures["metric"] == metric
    assert figures["validation"][metric]["mean"] >= score and figures["validation"][metric]["std"] is None
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == figures
    found = predict(given.output_dir, str(tmp_path / "dev.jsonl"), show_progress=False, dtype="float32")
    kept = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [one["prediction"] for one in found] == [one["prediction"] for one in kept] or name == "regression"
    again = evaluate_task(given.output_dir, str(tmp_path / "dev.jsonl"), show_progress=False, dtype="float32")
    assert again["figures"][metric] == pytest.approx(figures["validation"][metric]["mean"], abs=1e-6)


def test_numbers_are_predicted_in_their_own_unit_by_pipelines_too(checkpoint, tmp_path):
    given = settings(
        checkpoint,
        NUMBERS,
        tmp_path,
        training={"num_train_epochs": 25, "learning_rate": 5e-3, "bf16": False, **ONLY_THE_END},
    )
    assert finetune(given)["validation"]["mean_squared_error"]["mean"] < 100  # the labels' variance is 294
    found = predict(given.output_dir, str(tmp_path / "train.jsonl"), show_progress=False)
    kept = {row["sentence1"]: row["prediction"] for row in found}
    rate = transformers.pipeline("text-classification", model=given.output_dir, function_to_apply="none")
    answer = rate({"text": NUMBERS[2]["sentence1"], "text_pair": "a"})
    assert answer["score"] == pytest.approx(kept[NUMBERS[2]["sentence1"]], abs=1e-3)


def test_next_words_are_learned_and_written(checkpoint, tmp_path):
    given = settings(
        checkpoint,
        TEXTS,
        tmp_path,
        task="text-generation",
        training={"num_train_epochs": 12, **ONLY_THE_END},
        options={"max_new_tokens": 4},
    )
    figures = finetune(given)
    assert figures["metric"] == "perplexity" and figures["validation"]["perplexity"]["mean"] < 5
    found = predict(given.output_dir, texts=["the cat sat on"], show_progress=False)
    assert found[0]["prediction"].startswith("the")
    assert (
        len(predict(given.output_dir, texts=["the cat"], options={"max_new_tokens": 1})[0]["prediction"].split()) == 1
    )


def test_folder_opens_with_pipelines_and_its_card_is_one(checkpoint, tmp_path):
    train_file = write_jsonl(tmp_path / "reviews.jsonl.gz", REVIEWS)
    given = replace(settings(checkpoint, REVIEWS, tmp_path), train_file=train_file, test_file=train_file)
    given.training |= {"num_train_epochs": 15, **ONLY_THE_END}
    figures = finetune(given)
    classify = transformers.pipeline("text-classification", model=given.output_dir)
    assert [answer["label"] for answer in classify(["I love this book 99", "terrible phone 99"])] == ["good", "bad"]
    assert figures["rows"] == {"train": 22, "validation": 2, "test": 24} and figures["labels"] == ["bad", "good"]
    kept = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [row["review"] for row in kept] == [row["review"] for row in REVIEWS]  # of the test, in its order
    card = huggingface_hub.ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.pipeline_tag == "text-classification" and card.data.base_model is None
    results = {(result.dataset_split, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert results["test", "accuracy"] == pytest.approx(figures["test"]["accuracy"]["mean"], abs=1e-4)
    assert str(tmp_path) not in card.content  # nobody's folders
    assert not list((tmp_path / "out").glob("checkpoint-*")) and not list((tmp_path / "out").glob(".*"))


def test_several_seeds_have_a_mean_and_a_spread_and_the_best_one_is_kept(checkpoint, tmp_path, capsys):
    given = settings(checkpoint, REVIEWS, tmp_path, seeds=[3, 5, 8], metric="loss")
    figures = finetune(given)
    scores = [figures["runs"][seed]["validation"]["loss"] for seed in ("3", "5", "8")]
    assert len(set(scores)) == 3 and figures["validation"]["loss"]["mean"] == pytest.approx(sum(scores) / 3)
    mean = sum(scores) / 3
    assert figures["validation"]["loss"]["std"] == pytest.approx((sum((s - mean) ** 2 for s in scores) / 2) ** 0.5)
    best = f"seed-{figures['best_seed']}"
    assert figures["runs"][best[5:]]["validation"]["loss"] == min(scores)
    for name in ("model.safetensors", "predictions.jsonl", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "out" / best / name).read_bytes()
    assert figures_table(figures).splitlines()[0].split() == ["seed", "3", "seed", "5", "seed", "8", "mean", "std"]


class Killed(BaseException):
    """As a signal does it: no clean-up of ours catches it."""


def kill_after(monkeypatch, num_saves: int) -> None:
    """Stop the process, as it were, after so many checkpoints."""
    saves = []
    save = finetuning_run.FineTuningTrainer._save_checkpoint

    def save_and_die(self, *args, **kwargs):
        save(self, *args, **kwargs)
        saves.append(1)
        if len(saves) == num_saves:
            raise Killed

    monkeypatch.setattr(finetuning_run.FineTuningTrainer, "_save_checkpoint", save_and_die)


def die(*args) -> None:
    raise Killed


def without_clock(figures: dict) -> dict:
    runs = {
        seed: {key: value for key, value in run.items() if key != "seconds"} for seed, run in figures["runs"].items()
    }
    return {**figures, "runs": runs}


@pytest.mark.parametrize(("early_stopping", "augment"), [(None, {"mixup": 1.0}), (1, None)])
def test_run_that_was_killed_goes_on_and_ends_the_same(early_stopping, augment, checkpoint, tmp_path, monkeypatch):
    given = settings(
        checkpoint, REVIEWS, tmp_path, "whole", seeds=[0, 1], early_stopping=early_stopping, augment=augment,
        training={"num_train_epochs": 3}, metric="loss",
    )  # fmt: skip
    whole = finetune(given)
    parts = replace(given, output_dir=str(tmp_path / "parts"))
    for num_saves in (2, 2):  # within the first seed, then within the second
        with monkeypatch.context() as patched:
            kill_after(patched, num_saves)
            with pytest.raises(Killed):
                finetune(parts)
    with monkeypatch.context() as patched:  # trained to the end, and nothing written
        patched.setattr(finetuning_run, "write_predictions", die)
        with pytest.raises(Killed):
            finetune(parts)
    begun = []
    run_seed = finetuning_run.run_seed
    monkeypatch.setattr(finetuning_run, "run_seed", lambda one, *rest: begun.append(one.seeds) or run_seed(one, *rest))
    assert without_clock(finetune(parts)) == without_clock(whole)
    assert begun == [[1]]  # the first had finished
    ours, theirs = (
        electra_plus.ElectraPlusForSequenceClassification.from_pretrained(folder)
        for folder in (parts.output_dir, given.output_dir)
    )
    for (name, parameter), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, expected), name
    finetune(parts)
    assert begun == [[1]]


def test_other_settings_or_data_are_refused_until_told_to_begin_anew(checkpoint, tmp_path):
    given = settings(checkpoint, REVIEWS, tmp_path)
    finetune(given)
    with pytest.raises(
        ValueError, match=r"holds a run with other \['max_length', 'training.num_train_epochs'\].*`--restart`"
    ):
        finetune(replace(given, max_length=16, training={**given.training, "num_train_epochs": 2}))
    finetune(replace(given, training={**given.training, "logging_steps": 7}))  # changes no result
    write_jsonl(tmp_path / "train.jsonl", REVIEWS[:-2])
    with pytest.raises(ValueError, match=r"holds a run with other \['data'\]"):
        finetune(given)
    with pytest.raises(ValueError, match="`class_weights` must be"):
        finetune(replace(given, class_weights=[1]), restart=True)
    assert (tmp_path / "out" / "metrics.json").exists()  # nothing goes before all is checked
    assert finetune(given, restart=True)["rows"]["train"] == 20
    with pytest.raises(ValueError, match="is the model to start from. Give another folder"):
        finetune(replace(given, model=given.output_dir), restart=True)


def test_best_epoch_is_kept_and_early_stopping_waits(checkpoint, tmp_path, monkeypatch):
    losses = iter([1.0, 0.5, 0.7, 0.6, 0.8, 0.9])
    judged = finetuning_run.judged

    def judge(*args):
        figures, predictions = judged(*args)
        return {**figures, "loss": next(losses)}, predictions

    monkeypatch.setattr(finetuning_run, "judged", judge)
    given = settings(checkpoint, REVIEWS, tmp_path, metric="loss", early_stopping=2, training={"num_train_epochs": 6})
    figures = finetune(given)
    assert figures["runs"]["0"]["epoch"] == 2.0
    assert next(losses) == 0.8 + 0.1  # four evaluations in training and one at the end


@pytest.mark.parametrize("kind", ["classic", "stock electra", "stock bert"])
def test_other_checkpoints_are_fine_tuned_too(kind, tmp_path, tokenizer):
    sizes = {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    model = {
        "classic": lambda: ElectraPlusForPreTraining(joint_config()),
        "stock electra": lambda: transformers.ElectraForPreTraining(
            transformers.ElectraConfig(**sizes, embedding_size=16)
        ),
        "stock bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**sizes)),
    }[kind]()
    model.save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    given = settings(str(tmp_path / "start"), REVIEWS, tmp_path, training={"num_train_epochs": 12, **ONLY_THE_END})
    assert finetune(given)["validation"]["accuracy"]["mean"] == 1.0


def test_fine_tuned_head_is_gone_on_with_and_one_of_another_shape_is_new(checkpoint, tmp_path):
    first = settings(checkpoint, REVIEWS, tmp_path, "first", training={"num_train_epochs": 15, **ONLY_THE_END})
    finetune(first)
    no_step = {"learning_rate": 1e-12}
    on = finetune(settings(first.output_dir, REVIEWS, tmp_path, "on", training=no_step))
    assert on["validation"]["accuracy"]["mean"] == 1.0
    three = [*REVIEWS, *({"review": "the river", "label": "none"} for _ in range(6))]
    assert finetune(settings(first.output_dir, three, tmp_path, "three", training=no_step))["labels"] == [
        "bad",
        "good",
        "none",
    ]


def test_class_weights_reach_the_loss(checkpoint, tmp_path, monkeypatch, caplog):
    rare = REVIEWS[::2] + REVIEWS[1:4:2]
    seen = []
    weighted_loss = finetuning_run.weighted_loss
    monkeypatch.setattr(finetuning_run, "weighted_loss", lambda weights: seen.append(weights) or weighted_loss(weights))
    given = settings(
        checkpoint, rare, tmp_path, class_weights=["balanced"], validation_file=str(tmp_path / "train.jsonl")
    )
    given.training["gradient_accumulation_steps"] = 2
    finetune(given)
    assert seen[0].tolist() == pytest.approx([14 / 2 / 2, 14 / 2 / 12])  # two bad ones, twelve good ones
    assert "class weights: bad 3.5, good 0.583" in caplog.text
    with pytest.raises(
        ValueError, match="`class_weights` is for text-classification and token-classification, not regression"
    ):
        finetune(settings(checkpoint, NUMBERS, tmp_path, "numbers", class_weights=["balanced"]))


def test_pairs_are_learned_in_both_orders(checkpoint, tmp_path, monkeypatch):
    seen = {}
    run_seed = finetuning_run.run_seed

    def spy(settings, task, data, encoded, *rest):
        seen.update(encoded)
        return run_seed(settings, task, data, encoded, *rest)

    monkeypatch.setattr(finetuning_run, "run_seed", spy)
    finetune(settings(checkpoint, NUMBERS, tmp_path, swap_pairs=True, task="regression"))
    assert len(seen["train"].rows) == 2 * 19 and len(seen["validation"].rows) == 2
    with pytest.raises(ValueError, match="`swap_pairs` needs pairs of texts"):
        finetune(settings(checkpoint, REVIEWS, tmp_path, "b", swap_pairs=True))


def test_defaults_are_the_papers_and_the_released_codes_on_demand():
    base = FineTuningSettings("m", "t", "o")
    config = small_config(hidden_size=256, num_attention_heads=4)
    defaults = default_training(base, TASKS["text-classification"](), config)
    expected = {"learning_rate": 3e-4, "layerwise_lr_decay": 0.8, "num_train_epochs": 3, "warmup_steps": 0.1,
                "weight_decay": 0.0, "per_device_train_batch_size": 32, "load_best_model_at_end": True}  # fmt: skip
    assert {name: defaults[name] for name in expected} == expected
    for size, rate, decay in ((768, 1e-4, 0.8), (1024, 5e-5, 0.9)):
        config = ElectraPlusConfig(hidden_size=size, num_attention_heads=size // 64)
        defaults = default_training(base, TASKS["regression"](), config)
        assert (defaults["learning_rate"], defaults["layerwise_lr_decay"]) == (rate, decay)
        assert defaults["num_train_epochs"] == 10  # as the released code has it for STS-B
    config = small_config(hidden_size=256, num_attention_heads=4)
    released = default_training(replace(base, as_released=True), TASKS["text-classification"](), config)
    assert released["optim"] == "original" and released["lr_scheduler_type"] == "original"
    assert released["weight_decay"] == 0.01 and released["learning_rate"] == 1e-4
    assert released["layerwise_lr_decay_as_released"] is True


def test_released_optimization_runs_in_bfloat16(checkpoint, tmp_path):
    given = settings(checkpoint, REVIEWS, tmp_path, as_released=True, dtype="bfloat16")
    finetune(given)
    kept = json.loads((tmp_path / "out" / "finetuning.json").read_text())
    assert kept["training"]["bf16"] is True


@pytest.mark.parametrize(
    "name", sorted(file.stem for file in recipe_file("ner-en", "finetuning").parent.glob("*.yaml"))
)
def test_recipes_that_ship_can_be_built(name, tmp_path):
    given = {"model": "m", "train_file": "t", "output_dir": str(tmp_path / "out"), "training": {"use_cpu": True}}
    loaded = load_settings(FineTuningSettings, None, given, recipe_file(name, "finetuning"))
    task = task_class(loaded.task)(max_length=loaded.max_length, **loaded.options)
    assert loaded.training["use_cpu"] and "num_train_epochs" in loaded.training  # joined, not replaced
    defaults = default_training(loaded, task, small_config())
    training_arguments(ElectraPlusTrainingArguments, loaded.output_dir, defaults, loaded.training)
    with pytest.raises(ValueError, match="`--recipe` must be one of"):
        recipe_file(name)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"seeds": [1, 1]}, r"`seeds` must be one or more different numbers, got \[1, 1\]"),
        ({"dtype": "int8"}, "`dtype` must be bfloat16 or float32, got 'int8'"),
        ({"metric": "bleu"}, r"`metric` must be one of \['accuracy', .*'loss'\] for text-classification, got 'bleu'"),
        ({"max_length": 4}, "`max_length` must be from 8 to 64 tokens"),
        (
            {"augment": {"mixup": 0.4}, "task": "text-generation", "columns": {"text": "review"}},
            "`mixup` mixes sentence vectors",
        ),
        ({"early_stopping": 0}, "`early_stopping` must be at least 1 evaluation, got 0"),
        ({"early_stopping": 1, "training": {"eval_strategy": "no"}}, "`early_stopping` needs evaluations"),
        ({"limit": 1}, "`limit` must be at least 2 rows"),
        ({"task": "sentiment"}, "`--task` must be one of"),
        ({"columns": "label=stars"}, r"no task is made|`--columns` names 'stars'"),
        ({"columns": {"label": "stars"}, "task": "text-classification"}, "`--columns` names 'stars' for `label`"),
        ({"options": {"stride": 3}}, "`stride` is no option of text-classification"),
        ({"training": {"epochs": 3}}, r"`training` has \['epochs'\]"),
        ({"validation_file": "nowhere.csv"}, "`nowhere.csv` does not exist"),
        ({"model": "nowhere"}, "`--model nowhere` is no checkpoint"),
        (
            {"class_weights": [1, 2, 3]},
            "`class_weights` must be balanced, or a number above 0 for each of the 2 classes",
        ),
    ],
)
def test_settings_that_cannot_work_are_told_before_anything_is_written(overrides, message, checkpoint, tmp_path):
    given = settings(checkpoint, REVIEWS, tmp_path, **overrides)
    with pytest.raises((ValueError, OSError), match=message):
        finetune(given)
    assert not (tmp_path / "out").exists()


def test_several_processes_are_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="Fine-tuning runs in one process, got `WORLD_SIZE` 2"):
        finetune(settings(checkpoint, REVIEWS, tmp_path))


def test_model_of_another_kind_is_refused(tmp_path, tokenizer, checkpoint):
    transformers.GPT2Config(vocab_size=99).save_pretrained(tmp_path / "gpt")
    tokenizer.save_pretrained(tmp_path / "gpt")
    with pytest.raises(
        ValueError, match=r"has model type 'gpt2', and \['electra_plus', 'electra', 'bert'\] can be fine-tuned"
    ):
        finetune(settings(str(tmp_path / "gpt"), REVIEWS, tmp_path))
    model = ElectraPlusForMaskedLM(small_config())
    kept = {name: value for name, value in model.state_dict().items() if "layer.1" not in name}
    model.save_pretrained(tmp_path / "half", state_dict=kept)
    tokenizer.save_pretrained(tmp_path / "half")
    with pytest.raises(ValueError, match="lacks weights of the encoder, such as 'electra.encoder.layer.1"):
        finetune(settings(str(tmp_path / "half"), REVIEWS, tmp_path))


def test_numbers_as_labels_stay_in_order(checkpoint, tmp_path):
    rows = [{"premise": "a cat", "hypothesis": "a dog", "label": str(index % 11)} for index in range(44)]
    random.Random(0).shuffle(rows)
    assert finetune(settings(checkpoint, rows, tmp_path))["labels"] == [str(number) for number in range(11)]
    assert list(transformers.AutoConfig.from_pretrained(tmp_path / "out").id2label.values())[10] == "10"
    assert finetuning.METRICS_FILE == "metrics.json"
