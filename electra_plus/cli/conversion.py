"""The command `convert`."""

import argparse


def add_convert(commands) -> None:
    """Add the command `convert`."""
    command = commands.add_parser(
        "convert",
        help="write a checkpoint for transformers alone, or take one over from stock ELECTRA or BERT",
        description="Write a classic ElectraPlus checkpoint as stock ELECTRA, which opens without this package (a joint one "
        "as OUTPUT/discriminator and OUTPUT/generator), or a stock ELECTRA or BERT checkpoint as ElectraPlus. Weights stay "
        "bit-equal, the tokenizer is copied. Stock checkpoints also load into ElectraPlus classes without conversion.",
    )
    command.add_argument("--model", required=True, help="folder or Hub name of the checkpoint to convert")
    command.add_argument("--to", required=True, choices=("stock", "electra-plus"), help="what to write")
    command.add_argument("--output", required=True, help="folder to write")
    command.add_argument(
        "--generator",
        help="stock ELECTRA or BERT masked LM, with --to electra-plus: joined with the discriminator to pretrain on",
    )
    command.add_argument("--overwrite", action="store_true", help="replace the output folder with all it holds")
    command.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    from electra_plus.conversion import from_stock, to_stock

    if arguments.to == "stock":
        if arguments.generator is not None:
            raise ValueError(
                "`--generator` needs `--to electra-plus`. A joint checkpoint brings its own: leave it out."
            )
        package, written = "transformers", to_stock(arguments.model, arguments.output, overwrite=arguments.overwrite)
    else:
        written = from_stock(
            arguments.model, arguments.output, generator=arguments.generator, overwrite=arguments.overwrite
        )
        package = "electra_plus"
    for folder, class_name in written.items():
        print(f"{folder}: opens with {package}.{class_name}.from_pretrained")
