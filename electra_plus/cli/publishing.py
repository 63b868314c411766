"""The command `electra-plus publish`."""

import argparse
from pathlib import Path

EXAMPLES = """what is uploaded: model.safetensors, config.json, tokenizer, the code of the model and README.md, nothing else of the folder.
The token is taken from HF_TOKEN or from `hf auth login`; it is no argument, which others could read.

examples:
  electra-plus publish --model sentiment --repo me/sentiment --license apache-2.0 --language en
  electra-plus publish --model pretrained --save-to for-the-hub            # look at it first
  electra-plus publish --model pretrained --repo me/electra --stock        # for people who have only transformers
  electra-plus publish --model sentiment --repo me/sentiment --revision v2 --card my_card.md
"""


def add_publish(commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "publish",
        help="upload a model with its code and card to the Hub, or write the folder that would be uploaded",
        description="Publish the folder of a model: people with this package open it without a flag, people with transformers "
        "alone by trust_remote_code=True, or natively with --stock. Everything goes up in one commit; the same command goes on after "
        "an interruption.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", required=True, help="folder that pretrain, finetune or save_pretrained wrote")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--repo", dest="repo_id", help="owner/name on the Hub, made if there is none")
    where.add_argument("--save-to", help="write the repository into this folder and upload nothing")
    command.add_argument("--stock", action="store_true", help="as native electra, without code (classic models only)")
    command.add_argument("--license", help="identifier for the card, such as apache-2.0")
    command.add_argument("--language", nargs="+", help="codes for the card, such as en zh")
    command.add_argument("--card", help="a README.md of your own (default: made from the training's record)")
    command.add_argument("--private", action="store_true", default=None, help="if the repository is made by this")
    command.add_argument("--revision", help="branch, made if there is none (default: main)")
    command.add_argument("--message", dest="commit_message", help="of the commit (default: class and version)")
    command.add_argument("--create-pr", action="store_true", help="propose the commit to a repository of somebody else")
    command.add_argument("--overwrite", action="store_true", help="replace the folder of --save-to with all it holds")
    command.set_defaults(run=_publish)


def _publish(arguments: argparse.Namespace) -> None:
    from electra_plus.hub import push_to_hub, save_for_hub

    shared = {name: getattr(arguments, name) for name in ("card", "stock", "license")}
    codes = arguments.language
    shared["language"] = codes[0] if codes is not None and len(codes) == 1 else codes
    if arguments.save_to is not None:
        unused = [name for name in ("private", "revision", "commit_message", "create_pr") if getattr(arguments, name)]
        if unused:
            raise ValueError(f"`--save-to` uploads nothing, got {unused} as well. Leave one of them out.")
        folder = save_for_hub(arguments.model, arguments.save_to, overwrite=arguments.overwrite, **shared)
        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            print(f"{file.stat().st_size:>12,} {file.relative_to(folder)}")
        return
    if arguments.overwrite:
        raise ValueError("`--overwrite` is for --save-to. A repository keeps its earlier commits anyway: leave it out.")
    done = push_to_hub(
        arguments.model,
        arguments.repo_id,
        private=arguments.private,
        revision=arguments.revision,
        create_pr=arguments.create_pr,
        commit_message=arguments.commit_message,
        **shared,
    )
    print(done.commit_url if done.pr_url is None else done.pr_url)
