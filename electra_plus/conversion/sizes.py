"""Sizes of a model read from the shapes of its tensors, for checkpoints that come without a configuration."""

import re
from pathlib import Path

from electra_plus.conversion.weights import TensorInfo
from electra_plus.folders import read_json
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig

# The width of a head in every released ELECTRA and BERT: 4 heads for 256 (small), 12 for 768 (base), 16 for 1024 (large).
# google-research/electra, util/training_utils.py and run_pretraining.py: max(1, hidden_size // 64), generators too.
HEAD_SIZE = 64
# What the layers' shapes do not say, and an ELECTRA or BERT of TensorFlow always has.
LAYER_NORM_EPS = 1e-12


def inferred_config(
    infos: dict[str, TensorInfo], base: str, given: dict, class_name: str, argument: str
) -> tuple[ElectraPlusConfig, list[str]]:
    r"""
    Return the configuration that fits the shapes of an encoder's tensors.

    Args:
        infos (`dict[str, TensorInfo]`): Tensors in transformers' names.
        base (`str`): The prefix of the encoder, with a dot; empty if it has none.
        given (`dict`): Fields that a file says; they win.
        class_name (`str`): The class to make, for `architectures`.
        argument (`str`): What the caller's argument is called, for error messages.

    Returns:
        `tuple`: the configuration, and in words what was assumed.

    Raises:
        ValueError: Tensors that tell a size are missing, or no number of heads can be guessed.
    """
    layers = {
        int(match[1]) for name in infos if (match := re.match(rf"{re.escape(base)}encoder\.layer\.(\d+)\.", name))
    }
    try:
        shapes = {
            "word": infos[f"{base}embeddings.word_embeddings.weight"].shape,
            "position": infos[f"{base}embeddings.position_embeddings.weight"].shape,
            "type": infos[f"{base}embeddings.token_type_embeddings.weight"].shape,
            "query": infos[f"{base}encoder.layer.0.attention.self.query.weight"].shape,
            "inner": infos[f"{base}encoder.layer.0.intermediate.dense.weight"].shape,
        }
        (vocab_size, embedding_size), hidden_size = shapes["word"], shapes["query"][0]
        fields = {
            "vocab_size": vocab_size,
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "num_hidden_layers": max(layers) + 1,
            "intermediate_size": shapes["inner"][0],
            "max_position_embeddings": shapes["position"][0],
            "type_vocab_size": shapes["type"][0],
            "layer_norm_eps": LAYER_NORM_EPS,
        }
    except (KeyError, ValueError, IndexError) as error:
        what = (
            f"no tensor {error.args[0]!r} (in transformers' names)" if isinstance(error, KeyError) else "other shapes"
        )
        raise ValueError(
            f"`{argument}` must hold an encoder with BERT's names and shapes, got {what}. "
            "Only ELECTRA and BERT of TensorFlow or torch are known; convert others in the code that trained them."
        ) from error
    if max(layers) + 1 > len(layers):
        raise ValueError(f"`{argument}` must hold every layer, got {len(layers)} of {max(layers) + 1}. Copy it again.")
    assumptions = [f"`layer_norm_eps` {LAYER_NORM_EPS}, `hidden_act` 'gelu'"] if "layer_norm_eps" not in given else []
    if "num_attention_heads" not in given:
        heads = max(1, hidden_size // HEAD_SIZE)
        if hidden_size % heads:
            raise ValueError(
                f"`{argument}` has a `hidden_size` of {hidden_size}, in which heads of {HEAD_SIZE} do not fit. Say their number "
                'in a file: `--config config.json` with {"num_attention_heads": ...}.'
            )
        fields["num_attention_heads"] = heads
        assumptions.append(
            f"{heads} attention heads for a hidden size of {hidden_size} (released sizes: a head for every {HEAD_SIZE})"
        )
    for head in ("classifier.out_proj.weight", "classifier.weight"):
        if head in infos and class_name != "ElectraPlusForMultipleChoice":
            fields["num_labels"] = infos[head].shape[0]
    known = {**fields, **{name: value for name, value in given.items() if name != "generator_config"}}
    return ElectraPlusConfig(**{"flavour": "classic", **known, "architectures": [class_name]}), assumptions


def read_config_file(file: str | Path | None) -> dict:
    """
    Return the fields of a `config.json` of transformers or `bert_config.json` of BERT's authors; none for `None`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no JSON object.
    """
    if file is None:
        return {}
    if not Path(file).is_file():
        raise FileNotFoundError(f"`config` must be a file, got {str(file)!r}, which is none. Check the spelling.")
    fields = read_json(file, "config")
    for leftover in (
        "model_type",
        "architectures",
        "transformers_version",
        "auto_map",
        "tokenizer_class",
        "dtype",
        "torch_dtype",
    ):
        fields.pop(leftover, None)
    return fields


__all__ = ["inferred_config", "read_config_file"]
