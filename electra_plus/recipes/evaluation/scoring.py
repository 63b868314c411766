"""
How natural a sentence is to a model: one number in nats, higher for what the model finds more likely.

Sentences are scored in batches of equal length, so that nothing is padded and a score hardly depends on its company.
Equal rows of tokens are scored once and get the same number to the last bit.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.models.corruption_electra_plus import logits_at_slots
from electra_plus.recipes.evaluation.loading import longest_input

# A causal LM scores the vocabulary at every token of a batch, the others at one token a row or not at all.
CAUSAL_SHARE = 8

Row = tuple[tuple[int, ...], tuple[int, ...]]  # token ids; places of the tokens that count


def encode_sentences(
    tokenizer: PreTrainedTokenizerBase, config, sentences: Sequence[str], needs_start: bool = False
) -> list[Row]:
    r"""
    Return each sentence's token ids, special tokens included, and the places of its own tokens, which alone are scored.

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]): Of the model.
        config ([`PretrainedConfig`]): Of the model, for the longest input.
        sentences (`Sequence[str]`): The text.
        needs_start (`bool`, *optional*, defaults to `False`):
            For a causal LM, whose first token has no probability: put the tokenizer's start token first if it puts none.

    Raises:
        ValueError: A sentence is empty or longer than the model can read. A cut sentence would be another sentence.
    """
    encoded = tokenizer(
        list(sentences), return_special_tokens_mask=True, return_attention_mask=False, return_token_type_ids=False
    )
    longest = longest_input(tokenizer, config)
    rows = []
    for sentence, ids, special in zip(sentences, encoded["input_ids"], encoded["special_tokens_mask"], strict=True):
        if needs_start and ids and not special[0] and tokenizer.bos_token_id is not None:
            ids, special = [tokenizer.bos_token_id, *ids], [1, *special]
        places = tuple(place for place, mark in enumerate(special) if not mark)
        if not places:
            raise ValueError(f"The sentence {sentence!r} has no tokens. Remove it.")
        if len(ids) > longest:
            raise ValueError(
                f"A sentence has {len(ids)} tokens, the model reads {longest}: {sentence[:60]!r}…. Remove it or split it."
            )
        rows.append((tuple(ids), places))
    return rows


def detector_scores(
    detector: PreTrainedModel, rows: Sequence[Row], batch_tokens: int = 8192, progress: str | None = None
) -> list[float]:
    r"""
    Return the sum over a sentence's tokens of the log-probability that the token is original, in nats.

    One forward pass a sentence. Special tokens are left out, as in the pseudo-log-likelihood.

    Args:
        detector ([`ElectraPlusForReplacedTokenDetection`]): In evaluation mode.
        rows: Sentences from [`encode_sentences`].
        batch_tokens (`int`, *optional*, defaults to 8192): Tokens in a batch at most, special ones included.
        progress (`str`, *optional*): Label of a progress bar, which counts tokens scored. `None` shows none.

    Returns:
        `list[float]`: one score a row, at most 0.
    """

    def score(input_ids: Tensor, places: Tensor) -> Tensor:
        logits = detector(input_ids).logits.float()
        return F.logsigmoid(-logits).gather(1, places)

    return _scores(detector.device, rows, batch_tokens, progress, score)


def log_likelihoods(
    causal_lm: PreTrainedModel, rows: Sequence[Row], batch_tokens: int = 8192, progress: str | None = None
) -> list[float]:
    """Return the sum over a sentence's tokens of the log-probability given those before; as [`detector_scores`]."""

    def score(input_ids: Tensor, places: Tensor) -> Tensor:
        logits = causal_lm(input_ids, use_cache=False).logits[:, :-1].float()
        losses = F.cross_entropy(logits.flatten(0, 1), input_ids[:, 1:].flatten(), reduction="none")
        # a first token without anything before it has no probability and counts nothing
        scores = F.pad(-losses.view(len(input_ids), -1), (1, 0))
        return scores.gather(1, places)

    return _scores(causal_lm.device, rows, batch_tokens // CAUSAL_SHARE, progress, score)


def pseudo_log_likelihoods(
    masked_lm: PreTrainedModel,
    mask_token_id: int,
    rows: Sequence[Row],
    batch_tokens: int = 8192,
    progress: str | None = None,
) -> list[float]:
    r"""
    Return the sum over a sentence's tokens of the log-probability of the token where it alone is masked, in nats.

    A sentence of `n` tokens is read `n` times, each time with one token masked, and only that slot meets the vocabulary.

    Args:
        masked_lm ([`PreTrainedModel`]): Any masked LM, in evaluation mode.
        mask_token_id (`int`): Id of the mask token.
        rows: Sentences from [`encode_sentences`].
        batch_tokens (`int`, *optional*, defaults to 8192): Tokens in a batch at most, special ones included.
        progress (`str`, *optional*): Label of a progress bar, which counts tokens scored. `None` shows none.

    Returns:
        `list[float]`: one score a row.

    Source: Salazar et al. 2020, "Masked Language Model Scoring", https://aclanthology.org/2020.acl-main.240/, section 2.
    """

    def score(input_ids: Tensor, places: Tensor) -> Tensor:
        original_ids = input_ids.gather(1, places)  # (num_copies, 1)
        masked_ids = input_ids.scatter(1, places, mask_token_id)
        slots = torch.arange(len(input_ids), device=input_ids.device) * input_ids.shape[1] + places.squeeze(1)
        logits = logits_at_slots(masked_lm, masked_ids, slots).float()
        return -F.cross_entropy(logits, original_ids.squeeze(1), reduction="none")[:, None]

    return _scores(masked_lm.device, rows, batch_tokens, progress, score, one_place_a_row=True)


@torch.inference_mode()
def _scores(
    device: torch.device,
    rows: Sequence[Row],
    batch_tokens: int,
    progress: str | None,
    score: Callable[[Tensor, Tensor], Tensor],
    one_place_a_row: bool = False,
) -> list[float]:
    """
    Score distinct rows in batches and return the sum of each row's places, in the order given.

    `score` takes token ids `(batch_size, sequence_length)` and places `(batch_size, num_places)`, and returns
    log-probabilities of the places' shape.
    """
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    distinct = list(numbers)
    # float64: the sum must not depend on the order of the terms
    totals = torch.zeros(len(distinct), dtype=torch.float64)
    units = (
        [(number, (place,)) for number, (_, places) in enumerate(distinct) for place in places]
        if one_place_a_row
        else [(number, places) for number, (_, places) in enumerate(distinct)]
    )
    num_tokens = sum(len(places) for _, places in units)
    with tqdm(total=num_tokens, desc=progress, disable=progress is None, unit="tok", unit_scale=True) as bar:
        for batch in _equal_batches(distinct, units, batch_tokens):
            input_ids = torch.tensor([distinct[number][0] for number, _ in batch], device=device)
            places = torch.tensor([places for _, places in batch], device=device)
            scores = score(input_ids, places).double().sum(dim=1).cpu()
            totals.index_add_(0, torch.tensor([number for number, _ in batch]), scores)
            bar.update(places.numel())
    scores = totals.tolist()
    return [scores[numbers[row]] for row in rows]


def _equal_batches(
    distinct: Sequence[Row], units: Sequence[tuple[int, tuple[int, ...]]], batch_tokens: int
) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
    """Yield units whose rows have one length and as many places, the longest first: what does not fit fails at once."""
    shapes = defaultdict(list)
    for unit in units:
        number, places = unit
        shapes[len(distinct[number][0]), len(places)].append(unit)
    for (length, _), alike in sorted(shapes.items(), reverse=True):
        size = max(1, batch_tokens // length)
        for start in range(0, len(alike), size):
            yield alike[start : start + size]
