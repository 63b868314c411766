"""Whether a graph computes what its model computes, on batches of many shapes."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from electra_plus.pipelines.long_text import COUNT_FROM_PADDING

TOLERANCES = {"float32": 1e-4, "float16": 0.05}  # of any score; a float16 graph is compared with the float32 model
LENGTHS = (1, 7, 64, 333)  # tokens; the last is more than local attention takes in one block by default
BATCH_SIZES = (1, 2, 3)
NUM_CHOICES = 2


def longest_row(model: PreTrainedModel, length: int) -> int:
    """Return `length`, or as many tokens as the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None) or length
    if model.config.model_type in COUNT_FROM_PADDING:
        positions -= model.config.pad_token_id + 1
    return min(length, positions)


def random_batch(
    model: PreTrainedModel, inputs: tuple[str, ...], batch_size: int, length: int, padded: bool, seed: int = 0
) -> dict[str, Tensor]:
    r"""
    Draw a batch as a tokenizer would give it; for multiple choice each row is a question of two choices.

    Args:
        model ([`PreTrainedModel`]): What the batch is for.
        inputs (`tuple[str, ...]`): Which of `input_ids`, `attention_mask` and `token_type_ids` to return.
        batch_size, length (`int`): Rows, and tokens of each.
        padded (`bool`): Every row but the first ends in padding, a third of the row or more.
        seed (`int`, *optional*, defaults to 0): Of the draws.

    Returns:
        `dict`: `torch.LongTensor`s of shape `(batch_size, length)` or `(batch_size, num_choices, length)`.
    """
    rng = torch.Generator().manual_seed(seed)
    shape = (batch_size, length)
    if type(model).__name__.endswith("ForMultipleChoice"):
        shape = (batch_size, NUM_CHOICES, length)
    mask = torch.ones(shape, dtype=torch.long)
    if padded:
        for row in range(1, batch_size):
            mask[row, ..., max(1, 2 * length // (2 + row)) :] = 0
    padding = model.config.pad_token_id or 0
    segments = getattr(model.config, "type_vocab_size", None) or 1
    batch = {
        "input_ids": torch.randint(model.config.vocab_size, shape, generator=rng).masked_fill(mask == 0, padding),
        "attention_mask": mask,
        "token_type_ids": torch.randint(segments, shape, generator=rng),
    }
    return {name: batch[name] for name in inputs}


@torch.no_grad()
def largest_difference(model: PreTrainedModel, graph: Callable) -> float:
    """
    Return the largest difference of any score, padding left out, over all `LENGTHS` and `BATCH_SIZES`, padded and not.

    Args:
        model ([`PreTrainedModel`]): The reference.
        graph ([`~electra_plus.pipelines.onnx_model.OnnxModel`]): Called as the model is.

    Raises:
        ValueError: A score has another shape.
    """
    differences = [0.0]
    for length in sorted({longest_row(model, length) for length in LENGTHS}):
        for batch_size in BATCH_SIZES:
            for padded in (False, True) if batch_size > 1 and length > 1 else (False,):
                batch = random_batch(model, graph.inputs, batch_size, length, padded, seed=length)
                expected, found = model(**batch), graph(**batch)
                for name in graph.outputs:
                    differences.append(_difference(name, expected[name], found[name], batch))
    return float(torch.tensor(differences, dtype=torch.float64).max())  # NaN, if any is


def _difference(name: str, expected: Tensor, found: Tensor, batch: dict[str, Tensor]) -> float:
    if expected.shape != found.shape:
        raise ValueError(f"`{name}` of the graph has the shape {tuple(found.shape)}, not {tuple(expected.shape)}.")
    difference = (expected.double() - found.double()).abs()
    mask = batch.get("attention_mask")
    if mask is not None and difference.shape[: mask.dim()] == mask.shape:
        difference = difference[mask.bool()]
    return float(difference.max())
