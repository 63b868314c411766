"""The commands of tasks: finetune, predict, and evaluate without a suite."""

import argparse
import json
import sys

TASK_NAMES = (
    "text-classification", "multi-label-classification", "regression", "token-classification", "question-answering",
    "multiple-choice", "translation", "text-generation",
)  # fmt: skip
RECIPES = (
    "sentiment-en, sentiment-zh, topic-zh, pairs, ner-en, ner-zh, qa-en, qa-zh, multiple-choice, generation, translation-en-de, "
    "translation-classical-modern-zh"
)

FINETUNE_EXAMPLES = """tasks, and the columns of a row (guessed by usual names and printed; --columns says otherwise):
  text-classification         text, label; two texts: text, text_pair, label
  multi-label-classification  text, labels: a list, or one text with commas
  regression                  text (and text_pair), label: a number
  token-classification        tokens, tags; or text, spans
  question-answering          context, question, answers (none: no answer)
  multiple-choice             choices, label, and perhaps context and question
  translation                 source, target; or two columns named after languages
  text-generation             text

examples:
  electra-plus finetune --model pretrained --train-file reviews.csv --output sentiment
  electra-plus finetune --model pretrained --train-file reviews.csv --columns text=review,label=stars --output stars
  electra-plus finetune --model google/electra-small-discriminator --train-file nyu-mll/glue --dataset-config mrpc \\
      --output mrpc --seeds 0 1 2
  electra-plus finetune --recipe ner-en --model pretrained --train-file train.conll --validation-file dev.conll --output ner
  electra-plus finetune --recipe qa-zh --model pretrained --train-file cmrc2018/ --output qa --limit 500
  electra-plus finetune --config stars.yaml --early-stopping 2 --class-weights balanced

In the file of --config stand the same names with _ (train_file, output_dir, max_length, ...), training (arguments of
transformers.TrainingArguments under their own names, and layerwise_lr_decay), options (of the task, such as stride: 64),
model_fields (of the configuration) and augment (changed copies of the rows: {how: swap, copies: 4}, mixed sentence vectors:
{mixup: 0.4}). Flags replace what the file says, and both what the recipe says. The same command again goes on where a run was
stopped.
"""
PREDICT_EXAMPLES = """examples:
  electra-plus predict --model sentiment --text "I loved it" "我很喜欢这本书"
  electra-plus predict --model sentiment --input reviews.csv --output predictions.jsonl
  electra-plus predict --model qa --text '{"question": "Who wrote it?", "context": "Ann wrote it."}'
  electra-plus predict --model writer --text "Once upon a time" --max-new-tokens 20
"""
# flags that fill `training`, under the names of transformers.TrainingArguments
TRAINING_FLAGS = {
    "num_train_epochs": (float, "passes over the training rows (default: 3; regression 10; question-answering 2)"),
    "per_device_train_batch_size": (int, "rows in a step (default: 32)"),
    "learning_rate": (float, "its peak (default: 3e-4 up to a hidden size of 512, 1e-4 up to 768, else 5e-5)"),
    "layerwise_lr_decay": (float, "factor of the rate from layer to layer, 1 for none (default: 0.8, large 0.9)"),
    "warmup_steps": (float, "fraction of the steps, or their number (default: 0.1)"),
    "weight_decay": (float, "of the weights without norms and biases (default: 0)"),
}
# flags that fill `options`; which task has them, its error says
OPTION_FLAGS = {
    "stride": (int, "question-answering: tokens that two windows on a context share (default: 128)"),
    "null_threshold": (float, "question-answering: how much better `no answer` must be (default: 0)"),
    "max_answer_length": (int, "question-answering: in tokens (default: 30)"),
    "score": (str, "question-answering: squad, squad_v2 or cmrc2018 (default: by the rows)"),
    "threshold": (float, "multi-label-classification: probability from which a label counts (default: 0.5)"),
    "max_new_tokens": (int, "text-generation: tokens of a continuation (default: 40)"),
    "num_beams": (int, "translation: translations kept in the search, 1 for the likeliest token (default: 4)"),
    "temperature": (float, "text-generation: of the draw, 0 for the likeliest token (default: 0)"),
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_flags(command, flags: dict[str, tuple[type, str]]) -> None:
    for name, (kind, what) in flags.items():
        command.add_argument(_flag(name), type=kind, help=what)


def _add_data_flags(command) -> None:
    command.add_argument(
        "--columns", help="fields and columns: text=review,label=stars (default: guessed, and printed)"
    )
    command.add_argument("--dataset-config", help="of a dataset of the Hub that has several")
    command.add_argument(
        "--dtype", choices=("bfloat16", "float32"), help="default: bfloat16 where the device is fast at it"
    )


def add_finetune(commands) -> None:
    """Add the command `finetune`."""
    command = commands.add_parser(
        "finetune",
        help="fine-tune for classification, tagging, question answering, multiple choice or text generation",
        description="Fine-tune a checkpoint for a task, with ELECTRA's settings: a rate for each layer, warm-up, linear decay. Writes a "
        "folder with the best epoch's weights, tokenizer, model card (README.md), metrics.json and predictions.jsonl.",
        epilog=FINETUNE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--config", help="YAML file with settings")
    command.add_argument("--recipe", help=f"settings to begin with: {RECIPES}")
    command.add_argument("--model", help="folder or Hub name: ElectraPlus, stock ELECTRA or stock BERT")
    command.add_argument("--task", help=f"{', '.join(TASK_NAMES)} (default: guessed by the columns)")
    command.add_argument(
        "--train-file",
        help="file (.jsonl, .json, .csv, .tsv, .parquet, .conll, .txt), folder with train and validation files, or dataset (owner/name)",
    )
    command.add_argument(
        "--validation-file",
        "--validation",
        help="the same, or the name of a split (default: the split `validation`, else a tenth of the rows)",
    )
    command.add_argument("--test-file", "--test", help="the same: scored at the end")
    command.add_argument("--output", dest="output_dir", help="folder for the model")
    _add_data_flags(command)
    command.add_argument("--limit", type=int, help="rows of each split at most, drawn at random, for a quick look")
    command.add_argument("--max-length", type=int, help="tokens of a row (default: 128; question-answering 512)")
    command.add_argument("--seeds", type=int, nargs="+", help="a run each, with mean and deviation (default: 0)")
    command.add_argument("--metric", help="what the best epoch and seed are chosen by (default: the task's first)")
    command.add_argument(
        "--early-stopping", type=int, metavar="PATIENCE", help="stop after so many epochs without a better one"
    )
    command.add_argument(
        "--class-weights", nargs="+", help="balanced, or a number for each class, in the labels' order"
    )
    command.add_argument(
        "--swap-pairs", action="store_true", default=None, help="train on pairs in both orders, as the released code"
    )
    command.add_argument(
        "--as-released",
        action="store_true",
        default=None,
        help="optimize as the released code does: Adam without bias correction, warm-up times decay, rates one layer lower, weight "
        "decay 0.01, 1e-4 for small models too",
    )
    command.add_argument(
        "--convert-tags", action="store_true", default=None, help="convert tags from IOB1, BIOES, BMES or BILOU"
    )
    command.add_argument(
        "--carry-code",
        action="store_true",
        default=None,
        help="put the code of the model, and of our pipeline for the task, into the folder: it opens with transformers alone "
        "(trust_remote_code=True)",
    )
    _add_flags(command, TRAINING_FLAGS)
    _add_flags(command, OPTION_FLAGS)
    command.add_argument("--restart", action="store_true", help="delete what the output folder has of an earlier run")
    command.set_defaults(run=_finetune)


def add_predict(commands) -> None:
    """Add the command `predict`."""
    command = commands.add_parser(
        "predict",
        help="predict rows or texts with a fine-tuned model",
        description="Predict rows or texts with a fine-tuned model, of this package or stock. What it does is read from its folder.",
        epilog=PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", required=True, help="folder or Hub name of a fine-tuned model")
    command.add_argument(
        "--input", dest="source", help="file, folder or dataset, as for finetune; labels are not needed"
    )
    command.add_argument("--text", dest="texts", nargs="+", help="texts, or rows in JSON, instead of --input")
    command.add_argument("--output", help="json lines: each row with its prediction, in order (default: printed)")
    command.add_argument("--split", default="test", help="of a folder or a dataset (default: %(default)s)")
    _add_data_flags(command)
    command.add_argument("--limit", type=int, help="rows at most, drawn at random")
    command.add_argument("--max-length", type=int, help="tokens of a row (default: as in the fine-tuning)")
    _add_flags(command, OPTION_FLAGS)
    command.set_defaults(run=_predict)


def _finetune(arguments: argparse.Namespace) -> None:
    from electra_plus.recipes.finetuning import FineTuningSettings, figures_table, finetune
    from electra_plus.recipes.settings import load_settings, recipe_file

    given = {
        name: value
        for name, value in vars(arguments).items()
        if name not in ("command", "run", "config", "recipe", "restart")
    }
    given["training"] = _taken(given, TRAINING_FLAGS)
    given["options"] = _taken(given, OPTION_FLAGS)
    base = recipe_file(arguments.recipe, "finetuning") if arguments.recipe else None
    settings = load_settings(FineTuningSettings, arguments.config, given, base)
    figures = finetune(settings, restart=arguments.restart)
    print(figures_table(figures))
    which = f" (the weights are those of seed {figures['best_seed']})" if len(figures["runs"]) > 1 else ""
    print(f"\nsaved in {settings.output_dir}{which}")


def _predict(arguments: argparse.Namespace) -> None:
    from electra_plus.recipes.prediction import predict

    given = {name: value for name, value in vars(arguments).items() if name not in ("command", "run")}
    given["options"] = task_options(given)
    found = predict(**given, show_progress=arguments.source is not None and sys.stderr.isatty())
    if arguments.output is not None:
        print(f"{len(found):,} rows saved in {arguments.output}")
        return
    for row in found:
        print(json.dumps(row, ensure_ascii=False, default=str))


def add_task_flags(group) -> None:
    """Add the flags of `evaluate` for fine-tuned models."""
    group.add_argument("--split", help="of a folder or a dataset (default: validation)")
    _add_data_flags(group)
    _add_flags(group, OPTION_FLAGS)


TASK_FLAGS = ("split", "columns", "dataset_config", "dtype", *OPTION_FLAGS)


def without_task_flags(given: dict) -> dict:
    """Return the arguments of a suite; raise for those that only fine-tuned models have."""
    for name in TASK_FLAGS:
        if given.pop(name) is not None:
            raise ValueError(
                f"`{_flag(name)}` is for fine-tuned models, and --suite for pretrained ones. Leave one out."
            )
    return given


def score_task(given: dict) -> None:
    """Score a fine-tuned model and print the figures."""
    from electra_plus.recipes.evaluation.report import table
    from electra_plus.recipes.prediction import evaluate_task

    options = task_options(given)
    known = {name: given.pop(name) for name in ("model", "data", "output", "limit", *TASK_FLAGS) if name in given}
    for name, value in given.items():
        if value is not None and name != "suite":
            raise ValueError(f"`{_flag(name)}` belongs to a suite. Name one with --suite, or leave it out.")
    if len(known["data"]) > 1:
        raise ValueError(f"`--data` must be one file, folder or dataset without --suite, got {known['data']}.")
    known |= {"data": known["data"][0], "split": known["split"] or "validation"}
    result = evaluate_task(**known, options=options, show_progress=sys.stderr.isatty())
    rows = [(name, f"{value:.4f}") for name, value in result["figures"].items() if value is not None]
    print(table((f"{result['task']}, {result['rows']:,} rows", ""), rows))
    if known["output"] is not None:
        print(f"\nsaved in {known['output']}")


def task_options(given: dict) -> dict:
    """Take the options of tasks out of the arguments."""
    return _taken(given, {**OPTION_FLAGS, "max_length": None})


def _taken(given: dict, names) -> dict:
    values = {name: given.pop(name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}
