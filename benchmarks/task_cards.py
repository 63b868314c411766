"""Cards of the fine-tuned models, for `cards.py`."""

import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import tasks
import translation as translation_script
from card_parts import (
    CHINESE_TEXTS,
    FREE,
    MINILM,
    MINILM_CONFIG,
    RESEARCH,
    Card,
    facts_of,
    for_research,
    machine_of,
    score,
    settings_of_training,
    steps_of_curve,
)
from pretraining_cards import VOCABULARIES
from table_parts import result
from transformers import EncoderDecoderModel

from electra_plus import (
    ElectraPlusConfig,
    ElectraPlusForCausalLM,
    ElectraPlusForSequenceClassification,
    ElectraPlusForTokenClassification,
)
from electra_plus.hub import Dataset, Score, TrainingRecord
from electra_plus.hub.model_card import Reproduction
from electra_plus.recipes.finetuning import FineTuningSettings, default_training
from electra_plus.recipes.tasks import task_class

FEWCLUE_TERMS = "the texts of its encoder include FewCLUE's, given for academic use"


@dataclass(frozen=True)
class About:
    """
    What a reader of a case's card must know that `tasks.py` does not say.

    Args:
        name (`str`): Of the card and of the folder.
        model_class (`type`), labels (`list[str]`): Of the model.
        dataset ([`Dataset`]): Without its rows, which the result has.
        remark (`str`): What it is for.
        scored_rows (`str`): Which rows it is scored on.
        example (`str`): A text to try.
        terms (`str`, *optional*): Why it is for research only, if it is.
    """

    name: str
    model_class: type
    labels: list[str]
    dataset: Dataset
    remark: str
    scored_rows: str
    example: str
    terms: str | None = None


def tags(*kinds: str) -> list[str]:
    """Return the tags of kinds of entities."""
    return ["O", *(f"{part}-{kind}" for kind in kinds for part in "BI")]


CASES = {
    "sentiment-en, more rows": About(
        "sst2-minilm", ElectraPlusForSequenceClassification, ["0", "1"],
        Dataset("stanfordnlp/sst2", license="none given; passed on for research"),
        "Sentiment of phrases from film reviews: 0 is negative, 1 positive.", "the first half of GLUE's validation rows",
        "A wonderful film with great actors.", "SST-2 has no licence and is passed on for research",
    ),
    "ner-en, more rows": About(
        "wikiann-en-minilm", ElectraPlusForTokenClassification, tags("LOC", "ORG", "PER"),
        Dataset("unimelb-nlp/wikiann", "train (en)", license="ODC-BY, text CC BY-SA"),
        "Places, organizations and persons in English.", "drawn from WikiAnn's validation rows", "Angela Merkel was born in Hamburg.",
    ),
    "ner-zh, more rows": About(
        "cluener-small-zh", ElectraPlusForTokenClassification,
        tags("address", "book", "company", "game", "government", "movie", "name", "organization", "position", "scene"),
        Dataset("CLUENER2020", license="academic use, no explicit licence"),
        "Ten kinds of entities in Chinese news. After so few rows three in four of what it marks are wrong: a beginning, not a tool.",
        "drawn from the first half of CLUENER's validation rows", "他在北京大学读书。", f"CLUENER is given for academic use, and {FEWCLUE_TERMS}",
    ),
    "topic-zh": About(
        "thucnews-small-zh", ElectraPlusForSequenceClassification, [str(number) for number in range(10)],
        Dataset("THUCNews, titles", license="research use"), "Topics of Chinese news titles, ten of them.", "drawn from the validation titles",
        "股市今日大涨", f"THUCNews is given for research, and {FEWCLUE_TERMS}",
    ),
}  # fmt: skip


def of_case(name: str) -> Card:
    """A recipe of the table of tasks."""
    found, case, about = result("tasks"), tasks.CASES[name], CASES[name]
    rows = [row for row in found["rows"] if (row["case"], row["arm"]) == (name, "electra_plus")]
    is_english = case.encoder == "minilm"
    num_labels = len(about.labels)
    if is_english:
        config = ElectraPlusConfig.from_stock(MINILM_CONFIG, num_labels=num_labels)
    else:
        config = small_config("chinese", num_labels=num_labels)
    recipe = recipe_of(case)
    dataset = replace(about.dataset, rows=rows[0]["num_rows"])
    metrics = [metric for metric in rows[0]["scores"] if metric != "loss"]
    said = [
        f"Scored on {case.validation_rows:,} rows, {about.scored_rows}. The best epoch was chosen on them too, which favours the scores."
    ]
    if "recall" in metrics:
        said.append("`f1`, `precision` and `recall` count whole entities, `accuracy` tokens.")
    if len(rows) > 1:
        said.append(
            f"Means over {len(rows)} seeds; the time is a mean too. The folder holds the model of seed {rows[0]['seed']}."
        )
    record = TrainingRecord(
        task=recipe.task,
        base_model=MINILM if is_english else "small-zh",
        datasets=[dataset],
        scores=[score(dataset.name, "validation", metric, [row["scores"][metric] for row in rows]) for metric in metrics],
        hyperparameters=settings_of_recipe(recipe, config, seed=", ".join(str(row["seed"]) for row in rows)),
        seconds=statistics.mean(row["seconds"] for row in rows),
        clock="processor",
        machine=machine_of(found, 1),
        language="en" if is_english else "zh",
        remarks=[about.remark],
        score_remarks=said,
        limits=[for_research(about.terms)] if about.terms else [],
        example=about.example,
        **(RESEARCH if about.terms else FREE),
    )  # fmt: skip
    command = (
        f"PYTHONPATH=benchmarks python -c \"import pathlib, tasks; tasks.write_case(tasks.CASES['{name}'], pathlib.Path('data'), pathlib.Path())\"\n"
        f"electra-plus finetune --recipe {case.recipe} --model {record.base_model} --train-file train.jsonl --validation-file validation.jsonl "
        f"--output {about.name}"
    )
    remark = (
        f"`data/{case.dataset}/` holds the rows, in `{case.train}` and `{case.validation}`. The figures were measured by "
        f"`benchmarks/tasks.py` (case `{name}`), which does the same and keeps no weights; the time holds an evaluation after each epoch."
    )
    return Card(record, facts_of(about.model_class, config, about.labels), Reproduction(command, about.name, [remark]))


def recipe_of(case: tasks.Case) -> FineTuningSettings:
    """Return the settings of a case's recipe; its files do not matter."""
    files = Path("train.jsonl"), Path("validation.jsonl")
    return tasks.settings_of(case, Path("encoder"), files, Path("output"), 0)


def settings_of_recipe(recipe: FineTuningSettings, config: ElectraPlusConfig, **more) -> dict:
    """Return the training arguments of a recipe, with its defaults for a model of this size."""
    training = {**default_training(recipe, task_class(recipe.task), config), **recipe.training, **more}
    return settings_of_training(training["per_device_train_batch_size"], training, max_length=recipe.max_length)


def small_config(language: str, **fields) -> ElectraPlusConfig:
    """Return the configuration of a model on an encoder of `gpu_masked_lm.py`."""
    shape, vocab_size = result(f"gpu_masked_lm_{language}")["shape"], VOCABULARIES[language][1]
    return ElectraPlusConfig.preset("small", vocab_size=vocab_size, **shape, generator_config=None, **fields)


def generation(language: str) -> Card:
    """A writer of next words."""
    found = result("generation")
    row = next(row for row in found["rows"] if row["language"] == language)
    is_english = language == "english"
    code, name = ("en", "speeches-en") if is_english else ("zh", "novels-zh")
    config = small_config(language, is_decoder=True)
    characters = found["settings"]["characters"][language]
    texts = Dataset(
        "State of the Union speeches (nltk_data)" if is_english else CHINESE_TEXTS[2].name,
        f"texts of the first {characters:,} characters, 19 of 20",
        license="public domain",
    )
    sample = row["samples"]["likeliest"][1 if is_english else 2]
    record = TrainingRecord(
        task="text-generation",
        base_model=f"small-{code}",
        datasets=[texts],
        scores=[Score(texts.name, "validation", "perplexity", row["perplexity"])],
        hyperparameters=settings_of_recipe(recipe_of(tasks.CASES["generation"]), config),
        num_steps=steps_of_curve(row["curve"]),
        seconds=row["processor_seconds"],
        clock="processor",
        machine=machine_of(found, 1),
        language=code,
        remarks=[
            "An encoder that learned to read one way, as a measurement of what the recipe gives: it has the tone of its texts and little sense.",
            f"After “{sample[0].strip()}” its likeliest words are “{' '.join(sample[1].split())}”.",
        ],
        score_remarks=["Scored on every twentieth text. The best epoch was chosen on them too, which favours the score."],
        limits=[] if is_english else [for_research(FEWCLUE_TERMS)],
        example=row["samples"]["likeliest"][2 if is_english else 1][0].strip(),
        **(FREE if is_english else RESEARCH),
    )  # fmt: skip
    source = "pretrain_en_speeches" if is_english else "pretrain_zh_novels"
    command = (
        f"PYTHONPATH=benchmarks python -c \"import pathlib, generation as g; g.write_texts(pathlib.Path('{source}'), pathlib.Path(), "
        f"g.CHARACTERS['{language}'])\"\n"
        f"electra-plus finetune --recipe generation --model small-{code} --train-file train.jsonl --validation-file validation.jsonl --output {name}"
    )
    remarks = [
        f"`{source}/` holds a `.txt.gz` file, a text a line. The figures were measured by `benchmarks/generation.py`, which does the same "
        "and keeps no weights."
    ]
    return Card(record, facts_of(ElectraPlusForCausalLM, config), Reproduction(command, name, remarks))


def translation() -> Card:
    """The translator of half an hour."""
    found = result("translation")
    settings = found["settings"]
    config = ElectraPlusConfig.preset(
        "modern-tiny", vocab_size=settings["vocab_size"], generator_config=None, **translation_script.SHAPE
    )
    terms = "none given in its repository; captions under Flickr30k's terms"
    texts = Dataset("Multi30k, English to German", rows=found["train_rows"], license=terms)
    best = max((point for point in found["curve"] if "eval_bleu" in point), key=lambda point: point["eval_bleu"])
    half = len(found["samples"]) // 2  # after it come those that are farthest from their references
    far = min(found["samples"][half:], key=lambda one: len(one["source"]))
    record = TrainingRecord(
        task="translation",
        datasets=[texts],
        scores=[Score(texts.name, "test_2016_flickr", metric, value) for metric, value in found["test"].items()],
        hyperparameters=settings_of_training(
            settings["per_device_train_batch_size"], settings, hidden_dropout_prob=0.1
        ),
        num_steps=steps_of_curve(found["curve"]),
        seconds=found["processor_seconds"],
        clock="processor",
        machine=machine_of(found, 1),
        language=["en", "de"],
        remarks=[
            "English captions of photographs into German; encoder and decoder are alike, and began with random weights.",
        ],
        score_remarks=[
            f"On {found['test_rows']:,} pairs with {settings['beams']} beams; without a beam BLEU is {found['test_without_beam']['bleu']:.2f} and chrF "
            f"{found['test_without_beam']['chrf']:.2f}. The weights are those of epoch {best['epoch']:.0f} of {settings['epochs']}, the best by BLEU "
            f"({best['eval_bleu']:.2f}) on {translation_script.VALIDATION_ROWS} validation pairs.",
        ],
        limits=[
            for_research("Multi30k's captions come under Flickr30k's terms"),
            f"It has read nothing but captions. “{far['source']}” becomes “{far['translation']}”",
        ],
        example="A man is riding a bike.",
        **RESEARCH,
    )  # fmt: skip
    command = f"python benchmarks/translation.py --data multi30k_en_de --work translation --epochs {settings['epochs']}"
    return Card(record, facts_of(EncoderDecoderModel, config), Reproduction(command, "translation/run"))
