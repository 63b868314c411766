"""The command export: a checkpoint as a folder that ONNX Runtime computes."""

import argparse

EXAMPLES = """which network of the folder (--task; without it the head that the folder was saved with, of a joint one the detector):
  feature-extraction, fill-mask (of a joint folder the generator), replaced-token-detection, text-classification,
  token-classification, extractive-qa, multiple-choice

examples:
  electra-plus export --model sentiment --output sentiment-onnx
  electra-plus export --model pretrained --task feature-extraction --output encoder-onnx
  electra-plus export --model pretrained --task fill-mask --output fill-onnx --opset 20
  electra-plus export --model google/electra-small-discriminator --output detector-onnx
  electra-plus export --model sentiment --output sentiment-onnx --dtype float16 --overwrite

then, in Python:
  electra_plus.pipeline("text-classification", "sentiment-onnx")("I loved it")

A causal LM is exported without its cache: it scores texts, pipelines do not write with it. Encoder-decoders and the reader of long
texts in chunks are refused. Needs: pip install "electra-plus[onnx]"
"""


def add_export(commands) -> None:
    """Add the command `export`."""
    command = commands.add_parser(
        "export",
        help="write a model as an ONNX graph, which runs without PyTorch",
        description="Write a folder with model.onnx, config.json and the tokenizer, for batches and rows of any size, from a model of "
        "this package or stock. Before the folder appears, the graph is compared with the model on batches of many shapes, and "
        "refused if a score differs by more than 1e-4 (float16: 0.05). electra_plus.pipeline opens the folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", required=True, help="folder or Hub name of a model with or without a head")
    command.add_argument("--output", dest="output_dir", required=True, help="folder to write, whole or not at all")
    command.add_argument("--task", help="which network of the folder, see below (default: its own head)")
    command.add_argument("--opset", type=int, help="version of ONNX's operators, at least 18 (default: torch's choice)")
    command.add_argument(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="of weights and scores; float16 halves the file and is for GPUs (default: %(default)s)",
    )
    command.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare graph and model before writing (default: --check)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace the output folder with all it holds")
    command.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> None:
    from electra_plus.export import export_onnx

    given = {name: value for name, value in vars(arguments).items() if name not in ("command", "run")}
    try:
        written = export_onnx(**given)
    except ImportError as error:
        raise ValueError(str(error)) from error  # a package to install is said in one line, too
    print(
        f"{arguments.output_dir}: {written['class']}, {written['bytes']:,} bytes, scores {', '.join(written['outputs'])}"
    )
    if written["largest_difference"] is not None:
        print(f"largest difference from the model on batches of many shapes: {written['largest_difference']:.1e}")
