"""What a user may name as a checkpoint: folders, Hub names, TensorFlow checkpoints, files of `torch.save`, zip archives."""

import logging
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from transformers import AutoTokenizer, BertTokenizer

from electra_plus.conversion.archives import extract_archive
from electra_plus.conversion.names import from_tensorflow_names, in_transformers_names
from electra_plus.conversion.plan import Step
from electra_plus.conversion.tensor_bundle import TensorBundle
from electra_plus.conversion.weights import PICKLE_ENDINGS, Weights, is_plain_name, weights_of_file, weights_of_folder
from electra_plus.folders import copy_tokenizer, one_line, read_config, read_json

logger = logging.getLogger(__name__)

# Model types whose tokenizer is BERT's if a folder says no other.
WITH_BERT_TOKENIZER = {"bert", "electra", "electra_plus"}
FOLDER_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass
class Source:
    """
    A checkpoint that was opened.

    Args:
        name (`str` or `Path`): What the user named.
        folder (`str` or `Path`): Folder or Hub name in which a tokenizer may lie.
        weights ([`Weights`]): Tensors in transformers' names.
        fields (`dict` or `None`): Its config.json; `None` if it has none of transformers.
        left_out (`list[Step]`): For tensors of the file that need no place.
    """

    name: str | Path
    folder: str | Path
    weights: Weights
    fields: dict | None = None
    left_out: list[Step] = field(default_factory=list)


def open_source(name: str | Path, argument: str, stack: ExitStack) -> Source:
    """
    Open a checkpoint of any kind.

    Args:
        name (`str` or `Path`): What the user named.
        argument (`str`): What the caller's argument is called, for error messages.
        stack (`ExitStack`): Removes what was extracted from an archive when it closes.

    Raises:
        FileNotFoundError: There is nothing of that name, or no weights in it.
        ValueError: It is damaged, or refused because it might do harm.
    """
    path = Path(name)
    if path.is_file() and path.suffix == ".zip":
        extracted = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="electra-plus-")))
        source = open_source(extract_archive(path, extracted), argument, stack)
        source.name = name
        return source
    if path.is_dir():
        return _open_folder(path, argument)
    index = path if path.suffix == ".index" else path.with_name(f"{path.name}.index")
    if index.is_file():
        return _tensorflow(index, name)
    if path.is_file():
        if path.suffix not in (".safetensors", *PICKLE_ENDINGS):
            endings = ", ".join((".zip", ".index", ".safetensors", *PICKLE_ENDINGS))
            raise ValueError(
                f"`{argument}` must be a folder, the name of a model on the Hub, or a file that ends in {endings}, got "
                f"{str(name)!r}. Rename it if it is one of these."
            )
        weights, left_out = in_transformers_names(weights_of_file(path))
        return Source(name, path.parent, weights, None, left_out)
    return _transformers_folder(name, argument)


def _open_folder(path: Path, argument: str) -> Source:
    has_weights = any((path / file).is_file() for file in FOLDER_WEIGHTS)
    if (path / "config.json").is_file() and has_weights:
        return _transformers_folder(path, argument)
    indexes = sorted(path.glob("*.index"))
    if indexes:
        return _tensorflow(_newest(path, indexes, argument), path)
    files = [file for file in sorted(path.iterdir()) if file.suffix in (".safetensors", *PICKLE_ENDINGS)]
    if len(files) == 1 and not (path / "config.json").is_file():
        weights, left_out = in_transformers_names(weights_of_file(files[0]))
        return Source(path, path, weights, None, left_out)
    return _transformers_folder(path, argument)


def _transformers_folder(name: str | Path, argument: str) -> Source:
    fields = read_config(name, argument)
    weights, left_out = in_transformers_names(weights_of_folder(name, argument))
    refuse_layers(fields, weights, argument)
    return Source(name, name, weights, fields, left_out)


def refuse_layers(fields: dict, weights: Weights, argument: str) -> None:
    """Raise `ValueError` if a config.json has more layers than there are tensors, before as many are built."""
    for config in (fields, fields.get("generator_config")):
        num_layers = config.get("num_hidden_layers") if isinstance(config, dict) else None
        if isinstance(num_layers, int) and num_layers > max(len(weights.infos), 1):
            raise ValueError(
                f"`{argument}`: `num_hidden_layers` of its config.json is {num_layers:,}, but the weights are "
                f"{len(weights.infos):,} tensors. Check that config.json and weights belong together."
            )


def _tensorflow(index: Path, name: str | Path) -> Source:
    weights, left_out = from_tensorflow_names(TensorBundle(index))
    return Source(name, index.parent, weights, None, left_out)


def _newest(folder: Path, indexes: list[Path], argument: str) -> Path:
    """Return the checkpoint that the file `checkpoint` names, of several."""
    if len(indexes) == 1:
        return indexes[0]
    state = folder / "checkpoint"
    text = state.read_text(encoding="utf-8", errors="replace")[:10_000] if state.is_file() else ""
    if match := re.search(r'^model_checkpoint_path: "([^"\n]*)"', text, flags=re.MULTILINE):
        # often an absolute path on the machine that trained: only the name counts
        file = re.split(r"[/\\]", match[1])[-1] + ".index"
        if is_plain_name(file) and folder / file in indexes:
            return folder / file
    raise ValueError(
        f"`{argument}` ({str(folder)!r}) holds {len(indexes)} checkpoints and no file `checkpoint` that names one of them. Give "
        f"one: {str(indexes[-1])!r}."
    )


def write_tokenizer(sources: list[Source], folder: Path, model_type: str) -> None:
    """
    Copy the tokenizer's files of the first source that has any; of one with only a vocabulary, make BERT's tokenizer.

    Where the files do not say their class, AutoTokenizer takes the model type's: it is written down if that changes.
    """
    for source in sources:
        vocabulary = None if source.fields is not None else _vocabulary_alone(source.folder)
        if vocabulary is not None:
            tokens = vocabulary.read_text(encoding="utf-8").splitlines()
            # the vocabulary of a model of lower-cased text has no capitals but in [CLS] and the like
            lower = all(token == token.lower() for token in tokens if not re.fullmatch(r"\[.*\]", token))
            vocab = {token: i for i, token in enumerate(tokens)}
            BertTokenizer(vocab=vocab, do_lower_case=lower).save_pretrained(folder)
            return
        if copy_tokenizer([source.folder], folder):
            types = {model_type, (source.fields or {}).get("model_type", model_type)}
            if not types <= WITH_BERT_TOKENIZER and len(types) == 2 and not _says_its_class(folder):
                _write_down_class(source, folder)
            return


def _write_down_class(source: Source, folder: Path) -> None:
    try:
        AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False).save_pretrained(folder)
    except Exception as error:  # tokenizers raises nothing more precise; or a library for its vocabulary is missing
        logger.warning(
            "The tokenizer's files are copied, but do not say of which class they are, and it cannot be opened to write it down "
            f"({one_line(error)[:200]}). Open it with its class in transformers and save it into the new folder."
        )


def _says_its_class(folder: Path) -> bool:
    file = folder / "tokenizer_config.json"
    return file.is_file() and bool(read_json(file, "folder_or_hub_name").get("tokenizer_class"))


def _vocabulary_alone(folder: str | Path) -> Path | None:
    file = Path(folder) / "vocab.txt"
    return file if file.is_file() and not (Path(folder) / "tokenizer.json").is_file() else None


__all__ = ["Source", "open_source", "refuse_layers", "write_tokenizer"]
