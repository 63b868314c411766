"""Entry point of `electra-plus`: parses arguments, runs a recipe, turns errors into one line."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from electra_plus.cli.conversion import add_convert
from electra_plus.cli.export import add_export
from electra_plus.cli.publishing import add_publish
from electra_plus.cli.tasks import add_finetune, add_predict, add_task_flags, score_task, without_task_flags
from electra_plus.version import __version__

EXAMPLES = """examples:
  electra-plus quickstart
  electra-plus prepare --input books/ --output tokenizer --vocab-size 8192
  electra-plus pretrain --dataset tokenizer --preset modern-small --output pretrained
  electra-plus finetune --model quickstart/pretrained --train-file train.jsonl --output sentiment
  electra-plus evaluate --model quickstart/pretrained --suite rtd --data held_out.txt
  electra-plus evaluate --model sentiment --data test.jsonl
  electra-plus predict --model sentiment --text "I loved it" "我很喜欢这本书"
  electra-plus convert --model joint --to stock --output stock
  electra-plus publish --model sentiment --repo me/sentiment --license apache-2.0
  electra-plus export --model sentiment --output sentiment-onnx
"""
EVALUATE_EXAMPLES = """suites and what --data holds:
  blimp       minimal pairs, .jsonl with sentence_good, sentence_bad and UID: how often a network finds the grammatical
              sentence more natural, for each paradigm (seconds to minutes)
  rtd         text files: how well the detector finds what a masked LM replaced (seconds)
  glue-small  a folder with cola/ rte/ mrpc/ sst2/ stsb/, each with train.jsonl and validation.jsonl: fine-tuning on each
              task with each seed (minutes to hours; stopped, it goes on from --output)
  (none)      a fine-tuned model: --data is a file, a folder or a dataset with labels, as for finetune

examples:
  electra-plus evaluate --model sentiment --data validation.jsonl --output figures.json
  electra-plus evaluate --model quickstart/pretrained --suite blimp --data blimp/ --limit 100
  electra-plus evaluate --model quickstart/pretrained --suite rtd --data held_out.txt --output figures.json
  electra-plus evaluate --model detector --suite rtd --data held_out.txt --generator quickstart/pretrained
  electra-plus evaluate --model quickstart/pretrained --suite glue-small --data glue/ --tasks rte cola --seeds 0 1 \\
      --output glue.json
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="electra-plus",
        description="Pretrain, fine-tune and publish ELECTRA models.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in (
        _add_quickstart,
        _add_prepare,
        _add_pretrain,
        add_finetune,
        _add_evaluate,
        add_predict,
        add_convert,
        add_publish,
        add_export,
    ):
        add(commands)
    return parser


def _add_quickstart(commands) -> None:
    command = commands.add_parser(
        "quickstart",
        help="tokenizer, pretraining, fine-tuning and predictions on data that ships, in under four minutes",
        description="Train a tokenizer, pretrain a tiny model on ten books and 1,400 film reviews (masked LM, then replaced token "
        "detection), draw the detector's curve, fine-tune sentiment with and without that pretraining, and show how pipelines open the result. "
        "Needs two cores, no network.",
    )
    command.add_argument("--output", default="quickstart", help="folder for models and curve (default: %(default)s)")
    command.add_argument("--steps", type=int, default=950, help="optimizer steps of pretraining (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of weights, order and masks (default: %(default)s)")
    command.set_defaults(run=_quickstart)


def _add_prepare(commands) -> None:
    command = commands.add_parser(
        "prepare",
        help="train a tokenizer on text and write packed rows for pretraining",
        description="Read text, drop documents that are there twice, train a WordPiece tokenizer (or take one), and write rows "
        "of token ids with a manifest.json. The output folder opens with AutoTokenizer and with "
        "electra_plus.data.prepared.load_prepared. A run that was stopped goes on when it is started again.",
    )
    command.add_argument(
        "--input",
        nargs="+",
        required=True,
        help="files (.txt, .jsonl, .csv, each also with .gz; .parquet), folders of them, or datasets of the Hub (owner/name)",
    )
    command.add_argument("--output", dest="output_dir", required=True, help="folder to write")
    command.add_argument(
        "--rule",
        default="documents",
        help="how rows are made: documents (whole documents packed side by "
        "side), sentences (the original's pairs of segments) or stream (nothing is written but the tokenizer, rows are made "
        "while training) (default: %(default)s)",
    )
    command.add_argument("--row-length", type=int, default=128, help="tokens in a row (default: %(default)s)")
    command.add_argument("--tokenizer", help="folder, Hub name or BERT vocab.txt (default: train one)")
    command.add_argument(
        "--vocab-size", type=int, help="of the tokenizer that is trained, tokens at most (default: 8192)"
    )
    command.add_argument(
        "--cased", action="store_false", dest="lowercase", default=None, help="keep capitals and accents"
    )
    command.add_argument(
        "--max-length",
        type=int,
        help="what the trained tokenizer's truncation cuts to, in tokens (default: "
        "512, or the row length if that is more)",
    )
    command.add_argument("--text-column", help="of tables and datasets (default: guessed where it is clear)")
    command.add_argument("--dataset-config", help="of a dataset that has several")
    command.add_argument("--split", default="train", help="of datasets (default: %(default)s)")
    command.add_argument(
        "--held-out-fraction",
        type=float,
        default=0.01,
        help="of the documents, for evaluation; which ones depends on their text alone (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the draws of --rule sentences and the order of --rule stream (default: %(default)s)",
    )
    command.add_argument("--num-proc", type=int, default=1, help="processes that tokenise (default: %(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace the output folder with all it holds")
    command.set_defaults(run=_prepare)


def _add_pretrain(commands) -> None:
    command = commands.add_parser(
        "pretrain",
        help="pretrain generator and discriminator on a prepared folder or text files",
        description="Pretrain generator and discriminator on a folder that `electra-plus prepare` wrote, or on text files. A YAML "
        "file holds the settings: dataset or train_files, output_dir, tokenizer, preset, model, row_length, initial_row_length, "
        "length_ramp, mask_rate, final_mask_rate, whole_word, validation_files, seed, and training (arguments of "
        "transformers.TrainingArguments, and regime, generator_learning_rate, initial_train_batch_size and the like of "
        "ElectraPlusTrainingArguments). Flags replace what the file says. The same command again goes on from the last whole "
        "checkpoint in the output folder, and ends as if it had never been interrupted. Several processes: "
        "torchrun --nproc_per_node 2 -m electra_plus pretrain ...",
    )
    command.add_argument("--config", help="YAML file")
    command.add_argument(
        "--recipe",
        help="settings to begin with, which the file and the flags replace: classic-small, modern-small, chinese-small, "
        "babylm-10m, continue-stock or bert-generator",
    )
    command.add_argument("--dataset", help="folder that electra-plus prepare wrote")
    command.add_argument("--train-files", nargs="+", help="instead: text files or folders of them")
    command.add_argument("--output", dest="output_dir", help="folder for checkpoints and the model")
    command.add_argument("--tokenizer", help="folder, Hub name or BERT vocab.txt (default: train one)")
    command.add_argument("--discriminator", help="folder or Hub name to start from (default: a new one)")
    command.add_argument("--generator", help="folder or Hub name of any masked LM (default: the preset's)")
    command.add_argument("--preset", help="tiny, small, base, large, modern-tiny, modern-small or modern-base")
    command.add_argument("--row-length", type=int, help="tokens in a row")
    command.add_argument("--seed", type=int, help="of weights, order and masks")
    command.add_argument(
        "--resume", action="store_true", help="insist on a checkpoint, and take it with changed settings"
    )
    command.add_argument(
        "--restart", action="store_true", help="delete the checkpoints in the output folder, begin anew"
    )
    command.set_defaults(run=_pretrain)


def _add_evaluate(commands) -> None:
    command = commands.add_parser(
        "evaluate",
        help="score a fine-tuned model on labelled rows, or a pretrained one with a suite",
        description="Score a fine-tuned model on labelled rows with the metrics of its task, or a pretrained checkpoint with one of "
        "three suites, and print a table.",
        epilog=EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--model", required=True, help="folder or Hub name: fine-tuned, or joint, detector, masked LM, causal LM"
    )
    command.add_argument(
        "--suite", choices=("blimp", "rtd", "glue-small"), help="of a pretrained model (default: the model's task)"
    )
    command.add_argument("--data", required=True, nargs="+", help="files or folders, see below")
    command.add_argument("--output", help="json file for model, settings, figures and versions (default: none)")
    command.add_argument(
        "--limit",
        type=int,
        help="for a quick look: labelled rows, pairs of each paradigm, rows of text, or training rows of each task",
    )
    command.add_argument(
        "--max-length", type=int, help="longer texts are cut, in tokens (default: as fine-tuned; glue-small 128)"
    )
    add_task_flags(command.add_argument_group("without --suite"))
    command.add_argument("--batch-size", type=int, help="rtd, glue-small: rows in a batch (default: 32)")
    blimp = command.add_argument_group("blimp")
    blimp.add_argument("--scorers", nargs="+", help="detector, masked_lm or causal_lm (default: all in the checkpoint)")
    blimp.add_argument("--batch-tokens", type=int, help="tokens in a batch at most (default: 8192)")
    rtd = command.add_argument_group("rtd")
    rtd.add_argument("--generator", help="masked LM that fills the slots (default: the checkpoint's own)")
    rtd.add_argument("--row-length", type=int, help="tokens in a row (default: 128)")
    rtd.add_argument("--mask-rate", type=float, help="fraction of tokens to choose (default: 0.15)")
    rtd.add_argument("--seed", type=int, help="of masks and draws (default: 0)")
    glue = command.add_argument_group("glue-small")
    glue.add_argument("--tasks", nargs="+", help="cola, rte, mrpc, sst2, stsb (default: all)")
    glue.add_argument("--seeds", type=int, nargs="+", help="a fine-tuning each (default: 0 1 2)")
    glue.add_argument("--epochs", type=float, help="passes over the training rows (default: 3, or 10 for rte and stsb)")
    glue.add_argument("--learning-rate", type=float, help="its peak (default: 3e-4, for small models)")
    glue.add_argument(
        "--layerwise-lr-decay", type=float, help="factor of the rate from layer to layer, 1 for none (default: 0.8)"
    )
    glue.add_argument(
        "--group-by-length",
        action="store_true",
        default=None,
        help="texts of like length in a batch: faster on a CPU, batches drawn less freely",
    )
    command.set_defaults(run=_evaluate)


def _quickstart(arguments: argparse.Namespace) -> None:
    from electra_plus.recipes.quickstart import quickstart

    quickstart(arguments.output, steps=arguments.steps, seed=arguments.seed)


def _prepare(arguments: argparse.Namespace) -> None:
    from electra_plus.recipes.preparation import PreparationSettings, prepare

    found = prepare(PreparationSettings(**_given(arguments)))
    print(f"{found['vocab_size']} tokens in the vocabulary, saved in {arguments.output_dir}")
    if "train" not in found:
        print("rows are made while training")
        return
    print(f"{found['documents_read']:,} documents, {found['duplicates_dropped']:,} of them dropped as duplicates")
    for part in ("train", "held_out"):
        figures = found[part]
        line = f"{part}: {figures['documents']:,} documents, {figures['tokens']:,} tokens, {figures['rows']:,} rows"
        if figures["rows"]:
            line += (
                f", {100 * figures['padding_fraction']:.2f} % padding, {100 * figures['unknown_fraction']:.2f} % [UNK]"
            )
        print(line)


def _pretrain(arguments: argparse.Namespace) -> None:
    from electra_plus.recipes.pretraining import PretrainingSettings, pretrain
    from electra_plus.recipes.settings import load_settings, recipe_file

    base = recipe_file(arguments.recipe) if arguments.recipe else None
    given = _given(arguments, "recipe", "resume", "restart")
    settings = load_settings(PretrainingSettings, arguments.config, given, base)
    figures = pretrain(settings, resume=arguments.resume, restart=arguments.restart)
    if int(os.environ.get("RANK", 0)) == 0:  # of several processes one says it
        print_figures(figures)


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.suite is None:
        score_task(_given(arguments))
        return
    from electra_plus.recipes.evaluation.suites import SUITES, evaluate

    result = evaluate(**without_task_flags(_given(arguments)))
    print(SUITES[arguments.suite].table(result["figures"]))
    if arguments.output is not None:
        print(f"\nsaved in {arguments.output}")


def _given(arguments: argparse.Namespace, *leave_out: str) -> dict:
    own = {"command", "run", "config", *leave_out}
    return {name: value for name, value in vars(arguments).items() if name not in own}


def print_figures(figures: dict[str, float]) -> None:
    """Print one figure a line."""
    for name, value in figures.items():
        print(f"{name:<28} {value:.4f}" if isinstance(value, float) else f"{name:<28} {value}")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Returns:
        `int`: exit status, 0 for success, 1 when stopped by the user, 2 for an error in what the user gave.
    """
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        print(f"electra-plus {arguments.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"electra-plus {arguments.command}: stopped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
