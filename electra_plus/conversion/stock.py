"""
Checkpoints of others become ElectraPlus folders, and classic ElectraPlus folders become stock ones.

Parameters of the classic flavour have stock ELECTRA's names, so a conversion changes configuration and names and copies the
tensors bit by bit. What ElectraPlus has no place for (BERT's pooler, rows of RoBERTa's position table that no token has) is kept
in `unconverted.safetensors` beside the weights, for the way back. Everything is planned before it is done, and the plan is what
`--dry-run` prints.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from transformers import GenerationConfig, PreTrainedModel

from electra_plus.conversion.incoming import prepare_incoming
from electra_plus.conversion.outgoing import prepare_outgoing
from electra_plus.conversion.parts import Part
from electra_plus.conversion.plan import ConversionPlan
from electra_plus.conversion.prepared import (
    JOINT_CLASS,
    UNCONVERTED_FILE,
    Conversion,
)
from electra_plus.conversion.sources import Source, write_tokenizer
from electra_plus.folders import file_of, finished_folder, one_line
from electra_plus.registration import load_model_classes

logger = logging.getLogger(__name__)


def to_stock(
    folder_or_hub_name: str | Path,
    output_dir: str | Path,
    overwrite: bool = False,
    model_type: str = "electra",
    part: str | None = None,
    allow_unmatched: bool = False,
) -> dict[Path, str]:
    r"""
    Write a classic ElectraPlus checkpoint as a folder that transformers opens without this package.

    Tensors stay bit-equal and keep their dtype. Configuration fields that the stock model has are carried over; those that
    only steer pretraining are left out and named in a warning. The tokenizer's files are copied. The folder is written
    beside its final place and moved there when complete.

    Args:
        folder_or_hub_name (`str` or `Path`):
            An ElectraPlus checkpoint with any head that the stock model has.
        output_dir (`str` or `Path`):
            Folder to write. A joint checkpoint becomes two folders in it, `discriminator` (`ElectraForPreTraining`) and
            `generator` (`ElectraForMaskedLM`, or the generator's own class if it is of another model type).
        overwrite (`bool`, *optional*, defaults to `False`): Replace an `output_dir` that is not empty, with all it holds.
        model_type (`str`, *optional*, defaults to `"electra"`):
            `"electra"`, `"bert"` or `"roberta"` (a checkpoint that came from XLM-R or CamemBERT becomes one again). The
            latter two need `embedding_size == hidden_size` and a head that they have, which excludes the detector's.
        part (`str`, *optional*): `"discriminator"` or `"generator"` of a joint checkpoint, alone.
        allow_unmatched (`bool`, *optional*, defaults to `False`):
            Write a model even if tensors would be lost or stay random, with a warning that names them.

    Returns:
        `dict[Path, str]`: the class in `transformers` that opens each folder written.

    Raises:
        FileNotFoundError: There is no such checkpoint, or it has no weights.
        ValueError: The stock model has no equal of a configuration field or of the head, weights are missing, unmatched or
            damaged, or `output_dir` is not empty.
    """
    with _prepared():
        conversion = prepare_outgoing(folder_or_hub_name, model_type, part)
        return _write(conversion, output_dir, overwrite, allow_unmatched)


def plan_to_stock(
    folder_or_hub_name: str | Path, model_type: str = "electra", part: str | None = None
) -> ConversionPlan:
    """Return what [`to_stock`] would do, without writing anything; print it to read it."""
    with _prepared():
        return prepare_outgoing(folder_or_hub_name, model_type, part).plan


def from_stock(
    folder_or_hub_name: str | Path,
    output_dir: str | Path,
    generator: str | Path | None = None,
    overwrite: bool = False,
    part: str | None = None,
    config: str | Path | None = None,
    allow_unmatched: bool = False,
) -> dict[Path, str]:
    r"""
    Write a checkpoint of others as an ElectraPlus folder, or a discriminator and its generator as a joint one.

    Tensors stay bit-equal and keep their dtype (a model has one: the widest of its tensors). All configuration fields are
    carried over, and the tokenizer's files are copied. The folder is written beside its final place and moved there when
    complete.

    Args:
        folder_or_hub_name (`str` or `Path`):
            One of

            - a folder or Hub name of transformers: `electra` with any head; `bert`, `roberta`, `xlm-roberta` or `camembert`
              without a head or with one for masked LM, causal LM, classes, tokens, answers in a text or choices;
            - a TensorFlow checkpoint of ELECTRA's or BERT's authors: its folder, the file that ends in `.index`, or a `.zip`
              of it. It becomes a joint checkpoint if it holds both networks;
            - a state dict of transformers' ELECTRA or BERT, or of the generator and discriminator of
              richarddwang/electra_pytorch or lucidrains/electra-pytorch: `.safetensors`, `.bin`, `.pt`, `.pth` or `.ckpt`.
        output_dir (`str` or `Path`): Folder to write.
        generator (`str` or `Path`, *optional*):
            A masked LM of any model type that `AutoModelForMaskedLM` knows, with the same vocabulary, to pretrain the
            discriminator with; or a folder of DeBERTaV3, whose generator lies beside it. Embedding tables that are equal in
            both are shared, as `ElectraPlusForPreTraining.from_generator_discriminator` does.
        overwrite (`bool`, *optional*, defaults to `False`): Replace an `output_dir` that is not empty, with all it holds.
        part (`str`, *optional*): `"discriminator"` or `"generator"` of a checkpoint that holds both, alone.
        config (`str` or `Path`, *optional*):
            For checkpoints without a config.json of transformers: a JSON file with fields that the shapes of tensors do not
            say, such as `num_attention_heads`; `generator_config` in it holds the generator's.
        allow_unmatched (`bool`, *optional*, defaults to `False`):
            Write a model even if tensors would be lost or stay random, with a warning that names them.

    Returns:
        `dict[Path, str]`: the folder written and the class in `electra_plus` that opens it.

    Raises:
        FileNotFoundError: There is no such checkpoint, or it has no weights.
        ValueError: Another model type or head; weights are missing, unmatched, damaged or might do harm; vocabularies differ;
            or `output_dir` is not empty.
    """
    with _prepared() as stack:
        conversion = prepare_incoming(folder_or_hub_name, generator, part, config, stack)
        return _write(conversion, output_dir, overwrite, allow_unmatched)


def plan_from_stock(
    folder_or_hub_name: str | Path,
    generator: str | Path | None = None,
    part: str | None = None,
    config: str | Path | None = None,
) -> ConversionPlan:
    """Return what [`from_stock`] would do, without writing anything; print it to read it."""
    with _prepared() as stack:
        return prepare_incoming(folder_or_hub_name, generator, part, config, stack).plan


@contextmanager
def _prepared() -> Iterator[ExitStack]:
    """Yield what removes extracted archives at the end; fields of a wrong type become an error of one line."""
    try:
        with ExitStack() as stack:
            yield stack
    except StrictDataclassError as error:
        raise ValueError(f"A configuration cannot be read: {one_line(error)} Correct its config.json.") from error


# ---- writing ----


def _write(conversion: Conversion, output_dir, overwrite: bool, allow_unmatched: bool) -> dict[Path, str]:
    allowed = conversion.plan.refuse_problems("folder_or_hub_name", allow_unmatched)
    must_stay = [place for source in conversion.sources for place in (source.name, source.folder)]
    with finished_folder(output_dir, overwrite, *must_stay) as unfinished:
        if allowed is not None:
            logger.warning(f"Allowed: {allowed}.")
        models = {part.name: _built(part, conversion.sources[0]) for part in conversion.parts}
        extra = {part.name: part.extra for part in conversion.parts}
        if conversion.is_joint:
            models = {"": _joined(**models)}
        written = {}
        for name, model in models.items():
            state = {**model.state_dict(), **extra[name]} if extra.get(name) else None
            model.save_pretrained(unfinished / name, state_dict=state)
            write_tokenizer(conversion.sources, unfinished / name, model.config.model_type)
            written[Path(output_dir) / name] = type(model).__name__
        if conversion.kept_from:
            _write_aside(conversion, unfinished)
    return written


def _write_aside(conversion: Conversion, folder: Path) -> None:
    part = conversion.parts[0]
    metadata = {name: str(value) for name, value in conversion.kept_from.items() if value is not None}
    save_file(part.tensors_aside(), folder / UNCONVERTED_FILE, metadata={"format": "pt", **metadata})
    what = sorted({why for _, why in part.kept.values()})
    logger.warning(
        f"{part.class_name} has no place for {' and '.join(what)}: kept in {UNCONVERTED_FILE} for the way back."
    )


def _built(part: Part, source: Source) -> PreTrainedModel:
    model = part.build()
    if model.can_generate() and (file := file_of(source.folder, "generation_config.json")):
        model.generation_config = GenerationConfig.from_pretrained(Path(file).parent)
    return model


def _joined(discriminator: PreTrainedModel, generator: PreTrainedModel) -> PreTrainedModel:
    generator.config.name_or_path = ""  # the joint config.json would show it
    joint_class = load_model_classes()[JOINT_CLASS]
    with _default_dtype(torch.promote_types(discriminator.dtype, generator.dtype)):
        # `None` shares what is equal, which a discriminator that says its tables stand alone does not want
        sharing = None if discriminator.config.tie_word_embeddings else "none"
        return joint_class.from_generator_discriminator(generator, discriminator, embedding_sharing=sharing)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


__all__ = ["from_stock", "plan_from_stock", "plan_to_stock", "to_stock"]
