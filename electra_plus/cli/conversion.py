"""The command `convert`."""

import argparse

CONVERT_EXAMPLES = """what --model may be, by --to:
  electra-plus  transformers: a folder or Hub name of electra, bert, roberta, xlm-roberta or camembert
                TensorFlow: the folder, the .index file or the .zip that ELECTRA's and BERT's authors published
                torch: a state dict in .safetensors, .bin, .pt, .pth or .ckpt, of transformers' models, of
                richarddwang/electra_pytorch or of lucidrains/electra-pytorch
  stock         a classic ElectraPlus checkpoint; a joint one becomes OUTPUT/discriminator and OUTPUT/generator
  bert, roberta the same, without a detector; one that came from BERT or RoBERTa becomes what it was, bit by bit

examples:
  electra-plus convert --model pretrained --to stock --output for-transformers
  electra-plus convert --model google/electra-small-discriminator --generator google/electra-small-generator \\
      --to electra-plus --output joint
  electra-plus convert --model electra_small.zip --to electra-plus --dry-run
  electra-plus convert --model electra_small.zip --to electra-plus --output joint
  electra-plus convert --model vanilla_11081_100.0%.pth --part discriminator --to electra-plus --output detector
  electra-plus convert --model FacebookAI/roberta-base --to electra-plus --output ours
  electra-plus convert --model ours --to roberta --output roberta-again
  electra-plus convert --model detector --generator microsoft/deberta-v3-base --to electra-plus --output joint

What ElectraPlus has no place for (BERT's pooler, two rows of RoBERTa's positions) is kept in OUTPUT/unconverted.safetensors for
the way back. A tensor that nobody knows a place for, or a parameter that would stay random, stops the conversion unless
--allow-unmatched is given. Files that may run code when they are opened are refused.
"""
STOCK_TYPES = {"stock": "electra", "bert": "bert", "roberta": "roberta"}


def add_convert(commands) -> None:
    """Add the command `convert`."""
    command = commands.add_parser(
        "convert",
        help="write a checkpoint for transformers alone, or take one over from ELECTRA, BERT, RoBERTa or TensorFlow",
        description="Write a classic ElectraPlus checkpoint as stock ELECTRA, BERT or RoBERTa, which open without this package, or a "
        "checkpoint of others as ElectraPlus. Weights stay bit-equal, the tokenizer is copied. Stock ELECTRA and BERT also load into "
        "ElectraPlus classes without conversion.",
        epilog=CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", required=True, help="checkpoint to convert: folder, file or Hub name, see below")
    command.add_argument("--to", required=True, choices=("electra-plus", *STOCK_TYPES), help="what to write")
    command.add_argument("--output", help="folder to write")
    command.add_argument(
        "--dry-run", action="store_true", help="print what would become of every tensor, and write nothing"
    )
    command.add_argument(
        "--allow-unmatched",
        action="store_true",
        help="go on though tensors would be lost or parameters stay random; they are named in a warning",
    )
    command.add_argument(
        "--part", choices=("discriminator", "generator"), help="of a checkpoint of both (default: both)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace the output folder with all it holds")
    incoming = command.add_argument_group("with --to electra-plus")
    incoming.add_argument(
        "--generator",
        help="masked LM of any model type, with the same vocabulary: joined with the discriminator to pretrain on",
    )
    incoming.add_argument(
        "--config",
        help="JSON file with fields that a checkpoint without config.json does not say, such as num_attention_heads "
        "(default: a head for every 64 of the hidden size)",
    )
    command.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    from electra_plus.conversion import from_stock, plan_from_stock, plan_to_stock, to_stock

    if arguments.output is None and not arguments.dry_run:
        raise ValueError("`--output` is missing: name the folder to write, or look first with `--dry-run`.")
    options = {"part": arguments.part}
    if arguments.to == "electra-plus":
        package, plan, convert = "electra_plus", plan_from_stock, from_stock
        options.update(generator=arguments.generator, config=arguments.config)
    else:
        for name in ("generator", "config"):
            if getattr(arguments, name) is not None:
                hint = " A joint checkpoint brings its own generator: leave it out." if name == "generator" else ""
                raise ValueError(f"`--{name}` needs `--to electra-plus`, got `--to {arguments.to}`.{hint}")
        package, plan, convert = "transformers", plan_to_stock, to_stock
        options["model_type"] = STOCK_TYPES[arguments.to]
    if arguments.dry_run:
        made = plan(arguments.model, **options)
        print(made)
        try:
            made.refuse_problems("--model", arguments.allow_unmatched)
        except ValueError as error:
            print(f"\nwould be refused: {error}")
        return
    written = convert(
        arguments.model,
        arguments.output,
        overwrite=arguments.overwrite,
        allow_unmatched=arguments.allow_unmatched,
        **options,
    )
    for folder, class_name in written.items():
        print(f"{folder}: opens with {package}.{class_name}.from_pretrained")
