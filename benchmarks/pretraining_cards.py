"""Cards of the pretrained models, for `cards.py`."""

import statistics

import half_hour as half_hour_script
from card_parts import (
    CHINESE_TEXTS,
    ENGLISH_BOOKS,
    ENGLISH_WIKIPEDIA,
    FREE,
    RESEARCH,
    SAMPLES,
    SENTENCES,
    Card,
    facts_of,
    for_research,
    machine_of,
    score,
    settings_of_training,
)
from table_parts import result

from electra_plus import (
    ElectraPlusConfig,
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusForSequenceClassification,
)
from electra_plus.hub import Dataset, Score, TrainingRecord
from electra_plus.hub.model_card import Reproduction
from electra_plus.recipes import quickstart as recipe

ROW_LENGTH = 128  # of all but the quickstart's
PREPARED_VOCABULARY = 8192  # of `electra-plus prepare` unless it is told another size
VOCABULARIES = {"english": ("bert-base-uncased", 30_522), "chinese": ("bert-base-chinese", 21_128)}
WARMUP = 800  # steps of the classic small model's run, given on its command line
HELD_OUT = {"english": "books and Wikipedia, rows held out", "chinese": "Chinese texts, rows held out"}
DETECTION = ("auc", "accuracy", "precision", "recall", "generator_loss")


def quickstart(part: str) -> Card:
    """`masked_lm` or `pretrained` of the main job: after its first stage of pretraining, or after both."""
    runs = result("quickstart")["runs"]
    is_joint = part == "pretrained"
    last = [
        [next(point for point in reversed(run["curve"]) if point["stage"] == stage) for run in runs]
        for stage in ("masked LM", "detection")
    ]
    steps = [points[0]["step"] for points in last]
    metrics = DETECTION if is_joint else ("masked_lm_loss",)
    settings = settings_of_training(
        recipe.ROWS_PER_STEP,
        {"learning_rate": recipe.MASKED_LM_LEARNING_RATE, "adam_beta2": 0.98, "weight_decay": 0.01, "warmup_steps": 0.02},
        **{"learning_rate, word embeddings": recipe.EMBEDDING_LEARNING_RATE * recipe.MASKED_LM_LEARNING_RATE},
        **({"learning_rate, second stage": recipe.DETECTION_LEARNING_RATE, "discriminator_loss_weight": 10.0} if is_joint else {}),
        mask_rate=recipe.MASK_RATE, row_length=recipe.ROW_LENGTH, seed=", ".join(str(run["seed"]) for run in runs),
    )  # fmt: skip
    record = TrainingRecord(
        task="pretraining",
        datasets=SAMPLES,
        scores=[score("Wired Love, a book held out", "test", metric, [point[metric] for point in last[is_joint]]) for metric in metrics],
        hyperparameters=settings,
        num_steps=sum(steps) if is_joint else steps[0],
        seconds=statistics.mean(point["seconds"] for point in last[is_joint]),
        machine=machine_of(result("quickstart")),
        language="en",
        remarks=[
            f"The quickstart's checkpoint: {steps[0]} steps as a masked LM, then {steps[1]} of joint training with a new, small generator "
            "and word embeddings that stay as they are."
            if is_joint
            else "The encoder of the quickstart after the first of its two stages."
        ],
        score_remarks=[f"Means over {len(runs)} seeds, each a run of the whole job; the time is a mean too."],
        limits=[
            *(["Its generator writes easy replacements: among better ones the discriminator will find fewer."] if is_joint else []),
            rows_of(recipe.ROW_LENGTH),
        ],
        **FREE,
    )  # fmt: skip
    model_class = ElectraPlusForPreTraining if is_joint else ElectraPlusForMaskedLM
    return Card(record, facts_of(model_class, quickstart_config(has_generator=is_joint)), quickstart_command(part))


def quickstart_sentiment() -> Card:
    """The classifier of the main job."""
    runs, (num_labels, epochs, num_draws) = result("quickstart")["runs"], recipe.MANY_LABELS
    rows = [
        next(row for row in run["accuracies"] if (row["name"], row["num_labels"]) == ("pretrained", num_labels)) for run in runs
    ]  # fmt: skip
    seconds = [run["seconds"] for run in runs]
    record = TrainingRecord(
        task="text-classification",
        base_model="quickstart-pretrained",
        datasets=[Dataset(SENTENCES, rows=num_labels, license="CC BY 4.0")],
        scores=[score(SENTENCES, "test", "accuracy", [one for row in rows for one in row["accuracies"]])],
        hyperparameters=settings_of_training(
            32, {"learning_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 0.1, "num_train_epochs": epochs}, max_length=recipe.MAX_SENTENCE_LENGTH
        ),
        machine={name: value for name, value in machine_of(result("quickstart")).items() if name != "watts"},
        language="en",
        remarks=["Sentiment of sentences from product, film and restaurant reviews."],
        score_remarks=[
            f"Of {len(rows) * num_draws} fine-tunings, {num_draws} from each of {len(runs)} pretrainings: each draws its {num_labels:,} sentences anew "
            f"and is scored on the other {rows[0]['num_held_out']}. The folder holds the last of a run.",
            f"The whole job takes {min(seconds):.0f} to {max(seconds):.0f} s, pretraining and {num_draws * 2 + recipe.FEW_LABELS[2] * 2} fine-tunings "
            "included; one alone was not timed.",
            "The recipe was chosen by other draws from the same sentences, which favours the score.",
        ],
        example="I really love this book.",
        **FREE,
    )  # fmt: skip
    config = quickstart_config(has_generator=False)
    facts = facts_of(ElectraPlusForSequenceClassification, config, ["negative", "positive"])
    return Card(record, facts, quickstart_command("sentiment"))


def quickstart_config(has_generator: bool) -> ElectraPlusConfig:
    """Return the configuration of the quickstart's encoder, alone or with its small generator."""
    alone = ElectraPlusConfig.preset("modern-tiny", vocab_size=recipe.VOCAB_SIZE, generator_config=None)
    if not has_generator:
        return alone
    shared = {"vocab_size": alone.vocab_size, "embedding_size": alone.embedding_size}
    small = ElectraPlusConfig(flavour="modern", **recipe.GENERATOR_SIZE, **shared)
    return ElectraPlusConfig.preset("modern-tiny", vocab_size=recipe.VOCAB_SIZE, generator_config=small)


def quickstart_command(part: str) -> Reproduction:
    """Say how to get a folder of the quickstart."""
    remark = "All data come with the package. The figures are from `python benchmarks/quickstart.py`, which runs it with three seeds."
    return Reproduction("electra-plus quickstart --output quickstart --seed 0", f"quickstart/{part}", [remark])


def rows_of(length: int) -> str:
    """Say what a model has read, if its positions allow more."""
    return f"It was trained on rows of {length} tokens; longer texts are new to it."


def half_hour(name: str) -> Card:
    """A pretraining of half an hour on two cores."""
    found, arm = result("half_hour"), half_hour_script.ARMS[name]
    settings = found["settings"]
    row = next(row for row in found["rows"] if row["arm"] == name)
    alone = {"generator_config": None} if arm.masked_lm else {}
    config = ElectraPlusConfig.preset(arm.preset, vocab_size=PREPARED_VOCABULARY, **alone)
    facts = facts_of(ElectraPlusForMaskedLM if arm.masked_lm else ElectraPlusForPreTraining, config)
    texts, blimp = (HELD_OUT["english"], "test"), ("BLiMP", "test")
    names = ("auc", "auc_against_masked_lm", "generator_loss", "generator_accuracy")
    scores = [Score(*texts, name, row[name]) for name in names if name in row]
    if arm.masked_lm:
        scores = [Score(*texts, "masked_lm_loss", row["generator_loss"])]
    scores += [Score(*blimp, f"accuracy_{who}", value) for who, value in row["blimp"].items()]
    said = [
        f"BLiMP is the mean over {len(row['blimp_paradigms']['masked_lm'])} paradigms of {settings['pairs']} pairs each, 0.5 is chance: "
        "`accuracy_masked_lm` by pseudo-likelihood of the masked LM or generator, `accuracy_detector` by the discriminator."
    ]
    limits = [rows_of(ROW_LENGTH)] if "modern" in name else []
    if not arm.masked_lm:
        said.append(
            "`auc_against_masked_lm` is against half-hour-modern-masked-lm, a better generator, which it never met."
        )
        limits.insert(0, "As a detector it judges BLiMP's pairs no better than chance.")
    if name == "classic RTD":
        limits.insert(0, f"It has hardly learned to detect: an AUC of {row['auc']:.3f}, where chance is 0.5.")
    steps = int(settings["steps"][name]["steps"])
    record = TrainingRecord(
        task="pretraining",
        datasets=[ENGLISH_BOOKS, ENGLISH_WIKIPEDIA],
        scores=scores,
        hyperparameters=settings_of_training(
            settings["rows_per_step"], {**half_hour_script.COMMON, **arm.training}, mask_rate=arm.mask_rate, row_length=ROW_LENGTH, seed=row["seed"]
        ),
        num_steps=steps,
        seconds=settings["seconds"],
        machine=machine_of(found, found["machine"]["cores"]),
        language="en",
        remarks=[
            f"It was trained for as many steps as {settings['seconds'] / 60:.0f} minutes on both cores hold at the speed measured beforehand. That is "
            "the time below; the run itself shared the machine, and its clock was not kept."
        ],
        score_remarks=said,
        limits=limits,
        **FREE,
    )  # fmt: skip
    command = (
        "electra-plus prepare --input books/*.txt.gz wikipedia/*.jsonl.gz --output prepared\n"
        f'python benchmarks/half_hour.py --dataset prepared --blimp blimp --arms "{name}"'
    )
    remark = "Without `--arms` the script trains and scores all arms of its table, which the AUC against another model needs."
    return Card(record, facts, Reproduction(command, f"half_hour/{name}, seed {row['seed']}", [remark]))


def on_gpu(language: str) -> Card:
    """A masked LM in the shape of MiniLM."""
    found = result(f"gpu_masked_lm_{language}")
    code, (tokenizer, vocab_size) = {"english": "en", "chinese": "zh"}[language], VOCABULARIES[language]
    config = ElectraPlusConfig.preset("small", vocab_size=vocab_size, **found["shape"], generator_config=None)
    packed, rows = found["packed"], found["packed"]["train_rows"]
    record = TrainingRecord(
        task="pretraining",
        datasets=[ENGLISH_BOOKS, ENGLISH_WIKIPEDIA] if code == "en" else CHINESE_TEXTS,
        scores=[Score(HELD_OUT[language], "test", "masked_lm_loss", found["held_out"]["eval_loss"])],
        hyperparameters=settings_of_training(
            found["rows"], found["training"], mask_rate=found["mask_rate"], row_length=packed["row_length"]
        ),
        num_steps=found["steps"],
        seconds=next(entry["train_runtime"] for entry in found["log"] if "train_runtime" in entry),
        flops=next(entry["total_flos"] for entry in found["log"] if "total_flos" in entry),
        machine=machine_of(found),
        language=code,
        remarks=[
            "In the shape of MiniLM, made in minutes on one GPU as a start for fine-tuning.",
            f"{rows:,} rows of {packed['row_length']} tokens, passed over {found['steps'] * found['rows'] / rows:.1f} times; tokenizer of {tokenizer}.",
        ],
        score_remarks=[f"On {packed['held_out_rows']:,} rows."],
        **(FREE if code == "en" else RESEARCH),
        limits=[] if code == "en" else [for_research("FewCLUE's texts are given for academic use, without a licence")],
        example="Paris is the capital of [MASK]." if code == "en" else "北京是中国的首[MASK]。",
    )  # fmt: skip
    texts = (
        "books/*.txt.gz wikipedia/*.jsonl.gz"
        if code == "en"
        else "histories.txt.gz novels.txt.gz fewclue.txt.gz wikipedia.jsonl.gz"
    )
    command = (
        f"electra-plus prepare --rule sentences --row-length {packed['row_length']} --tokenizer {tokenizer}/vocab.txt --input {texts} --output prepared\n"
        "python benchmarks/gpu_pretraining.py pack --dataset prepared --output packed\n"
        f"python benchmarks/gpu_masked_lm.py --packed packed --output small-{code} --steps {found['steps']}"
    )
    said = ["The weights are written in 16 bits; the score is of these."]
    return Card(record, facts_of(ElectraPlusForMaskedLM, config), Reproduction(command, f"small-{code}", said))


def classic_small() -> Card:
    """ELECTRA-small in a few thousand steps."""
    found = result("gpu_pretraining")
    paper, seen, packed = found["recipe"], found["held_out"], found["packed"]
    training = paper["training"] | {"max_steps": found["of"], "warmup_steps": WARMUP, "bf16": True}
    rows = training["per_device_train_batch_size"]
    record = TrainingRecord(
        task="pretraining",
        datasets=[ENGLISH_BOOKS, ENGLISH_WIKIPEDIA],
        scores=[Score(HELD_OUT["english"], "test", name, seen[f"eval_{name}"]) for name in (*DETECTION, "generator_accuracy")],
        hyperparameters=settings_of_training(
            rows, training, mask_rate=paper["mask_rate"], row_length=paper["row_length"]
        ),
        num_steps=found["steps"],
        seconds=found["steps"] * rows * paper["row_length"] / found["median_tokens_per_second"],
        machine=machine_of(found),
        language="en",
        remarks=[
            f"**It did not learn to detect.** The paper's small model, pressed into {found['steps']:,} steps instead of a million, with a warm-up of "
            f"{WARMUP} steps instead of 10,000: the AUC is {seen['eval_auc']:.3f} where chance is 0.5, and of the replaced tokens it finds "
            f"{seen['eval_recall']:.1%}. An accuracy of {1 - seen['eval_replaced_rate']:.3f} is what calling every token original gives.",
            f"{packed['train_rows']:,} rows of {packed['row_length']} tokens, passed over {found['passes_over_the_rows']:.1f} times; stopped by the clock before "
            f"step {found['of']:,}. The time is that of the steps at the median speed, without compiling.",
        ],
        limits=["Do not fine-tune it where a better start is at hand: it is kept as a measurement of what so few steps give."],
        **FREE,
    )  # fmt: skip
    config = ElectraPlusConfig.preset(paper["preset"], vocab_size=paper["vocab_size"])
    tokenizer = VOCABULARIES["english"][0]
    command = (
        f"electra-plus prepare --rule sentences --row-length {packed['row_length']} --tokenizer {tokenizer}/vocab.txt "
        "--input books/*.txt.gz wikipedia/*.jsonl.gz --output prepared\n"
        "python benchmarks/gpu_pretraining.py pack --dataset prepared --output packed\n"
        f"python benchmarks/gpu_pretraining.py train --packed packed --output classic-small-few-steps --steps {found['of']} --warmup {WARMUP}"
    )
    return Card(
        record, facts_of(ElectraPlusForPreTraining, config), Reproduction(command, "classic-small-few-steps/model")
    )
