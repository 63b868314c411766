"""What a checkpoint can be asked: the networks in it, its tokenizer, and the device to run them on."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from electra_plus.models.configuration_electra_plus import STOCK_MODEL_TYPES

MODEL_TYPES = ("electra_plus", *STOCK_MODEL_TYPES)  # what the classes of this package open
DETECTORS = ("ElectraPlusForReplacedTokenDetection", "ElectraForPreTraining")
CAUSAL_ENDINGS = ("ForCausalLM", "LMHeadModel")


@dataclass
class Networks:
    """
    The networks of a checkpoint that can judge text, in evaluation mode and float32, and their tokenizer.

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]): Of all of them.
        detector ([`ElectraPlusForReplacedTokenDetection`], *optional*): One logit a token, > 0 where it looks replaced.
        masked_lm ([`PreTrainedModel`], *optional*): Scores of the vocabulary at masked slots.
        causal_lm ([`PreTrainedModel`], *optional*): Scores of the vocabulary for the next token.
    """

    tokenizer: PreTrainedTokenizerBase
    detector: PreTrainedModel | None = None
    masked_lm: PreTrainedModel | None = None
    causal_lm: PreTrainedModel | None = None


def load_networks(model: str, argument: str = "--model") -> Networks:
    """
    Open a checkpoint as what it was trained to be: joint, detector, masked LM or causal LM.

    Args:
        model (`str`): Folder or Hub name: ElectraPlus, stock ELECTRA, or any masked or causal LM of transformers.
        argument (`str`, *optional*, defaults to `"--model"`): How errors name it.

    Raises:
        OSError: There is no such checkpoint, or no tokenizer in it.
        ValueError: It has another head (a classifier, say), or weights of the head are missing.
    """
    config = read_config(model, argument)
    tokenizer = read_tokenizer(model, config, argument)
    name = (config.architectures or ["none"])[0]
    if name == "ElectraPlusForPreTraining":
        joint = _load("ElectraPlusForPreTraining", model, argument)
        return Networks(tokenizer, detector=joint.discriminator, masked_lm=joint.generator)
    if name in DETECTORS:
        return Networks(tokenizer, detector=_load("ElectraPlusForReplacedTokenDetection", model, argument))
    if name.endswith("ForMaskedLM"):
        return Networks(tokenizer, masked_lm=_load("AutoModelForMaskedLM", model, argument))
    if name.endswith(CAUSAL_ENDINGS):
        return Networks(tokenizer, causal_lm=_load("AutoModelForCausalLM", model, argument))
    raise ValueError(
        f"`{argument} {model}` holds the class {name}, which neither detects replaced tokens nor predicts tokens. Give the "
        "pretrained checkpoint: joint, detector, masked LM or causal LM."
    )


def _load(class_name: str, model: str, argument: str) -> PreTrainedModel:
    """Load a class by its name, from this package or transformers, and refuse weights that would be random."""
    import transformers

    import electra_plus

    own = class_name.startswith("ElectraPlus")
    model_class = getattr(electra_plus if own else transformers, class_name)
    with quiet():  # missing weights are an error below, others in the file belong to other heads
        loaded, info = model_class.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
    if info["missing_keys"]:
        raise ValueError(
            f"`{argument} {model}` lacks weights of {type(loaded).__name__}, such as {sorted(info['missing_keys'])[0]!r}: its "
            "scores would be random. Give a checkpoint that was pretrained with this head."
        )
    return loaded.eval().to(best_device())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the loading reports and bars of transformers and of our models, and let them speak again afterwards."""
    ours = logging.getLogger("electra_plus.models")
    levels = ours.level, transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    ours.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        ours.setLevel(levels[0])
        transformers_logging.set_verbosity(levels[1])
        if bars:
            transformers_logging.enable_progress_bar()


def best_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def longest_input(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> int:
    """Return how many tokens the model can read: what its positions and its tokenizer allow."""
    return min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or int(1e9))


def refuse_new_encoder(model: str, new: Iterable[str], head: str | tuple[str, ...]) -> None:
    """
    Raise if weights that a checkpoint lacks belong to more than the head.

    Raises:
        ValueError: Names in `new` begin otherwise than `head`.
    """
    missing = sorted(name for name in new if not name.startswith(head))
    if missing:
        raise ValueError(
            f"`--model {model}` lacks weights of the encoder, such as {missing[0]!r}. Give a pretrained checkpoint."
        )


def read_config(model: str, argument: str = "--model") -> PretrainedConfig:
    """
    Return the configuration of a checkpoint.

    Raises:
        OSError: There is none.
    """
    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise OSError(
            f"`{argument} {model}` is no checkpoint: a folder with config.json, weights and tokenizer is needed, or a Hub "
            f"name within reach. ({_first(error)})"
        ) from error


def read_tokenizer(model: str, config: PretrainedConfig, argument: str = "--model") -> PreTrainedTokenizerBase:
    """
    Return the tokenizer beside the weights.

    Raises:
        OSError: There is none.
        ValueError: It has more tokens than the model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise OSError(
            f"`{argument} {model}` holds no tokenizer. Save it beside the weights. ({_first(error)})"
        ) from error
    # a folder without tokenizer files gives one that knows special tokens only, and takes every word for [UNK]
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise OSError(f"`{argument} {model}` holds no tokenizer, or one without words. Save it beside the weights.")
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"`{argument} {model}` has a tokenizer of {len(tokenizer)} tokens and a model of {config.vocab_size}. Save the "
            "tokenizer that it was trained with beside the weights."
        )
    return tokenizer


def fingerprint(model: str) -> str:
    """Return a hash of the weight files of a folder, or the commit of a Hub name, to tell checkpoints of one name apart."""
    weights = [file for file in Path(model).glob("*") if file.suffix in (".safetensors", ".bin")]
    files = sorted(file for file in weights if file.name != "training_args.bin")
    if not files:
        return str(getattr(read_config(model), "_commit_hash", None))
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
