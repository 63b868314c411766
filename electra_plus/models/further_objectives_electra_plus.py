"""
Objectives of the discriminator beside replaced token detection: a head and a loss each, added by `config.objective_weights`.

A new objective is a class here, a row in `OBJECTIVES`, and its name in the configuration's `OBJECTIVE_NAMES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from .configuration_electra_plus import ElectraPlusConfig
from .layers_electra_plus import make_norm
from .objectives_electra_plus import at_slots, masked_lm_loss
from .packing_electra_plus import positions_in_documents

NUM_CANDIDATES = 5  # of a multi-word choice, the true token included, as in TEAMS's released code
KEPT_FRACTION = 0.9  # of a text's tokens in its cropped view, as in COCO-LM
CONTRAST_TEMPERATURE = 1.0  # divisor of the cosines, as in COCO-LM


@dataclass
class CorruptedBatch:
    """
    What one step of the discriminator offers its further objectives.

    Args:
        states (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`): Of its last layer.
        detection_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): > 0 where a token looks replaced.
        corrupted_ids, original_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Its text, and the true one.
        slots (`torch.LongTensor` of shape `(num_masked,)`): Places of the masked slots in the flattened batch, or -1.
        slot_ids (`torch.LongTensor` of shape `(num_masked,)`): The tokens that were masked, -100 where `slots` is -1.
        slot_logits (`torch.FloatTensor` of shape `(num_masked, vocab_size)`, *optional*):
            The generator's scores, detached; given if a head `needs_slot_logits`.
        word_table (`torch.FloatTensor` of shape `(vocab_size, embedding_size)`): The discriminator's word embeddings.
        encode (`Callable`): The discriminator's encoder: ids and keyword arguments to states.
        attention_mask, token_type_ids, document_ids (`torch.Tensor`, *optional*): As in [`ElectraPlusModel.forward`].
    """

    states: Tensor
    detection_logits: Tensor
    corrupted_ids: Tensor
    original_ids: Tensor
    slots: Tensor
    slot_ids: Tensor
    slot_logits: Tensor | None
    word_table: Tensor
    encode: Callable[..., Tensor]
    attention_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    document_ids: Tensor | None = None


# ---- pure functions ----


def draw_candidates(
    logits: Tensor, original_ids: Tensor, num_candidates: int = NUM_CANDIDATES, rng: Generator | None = None
) -> Tensor:
    r"""
    Return the true token of every masked slot, and others drawn without replacement from the generator's probabilities.

    The draw is made in float32 and passes no gradient back. Taking the highest of the log-probabilities plus Gumbel noise
    draws without replacement in proportion to what is left (Gumbel top-k).

    Args:
        logits (`torch.FloatTensor` of shape `(num_masked, vocab_size)`): The generator's scores, in nats.
        original_ids (`torch.LongTensor` of shape `(num_masked,)`): The true tokens, never drawn; -100 stands for any.
        num_candidates (`int`, *optional*, defaults to 5): In all, the true token included; at most `vocab_size`.
        rng (`torch.Generator`, *optional*): Source of randomness on the logits' device. `None` uses torch's global one.

    Returns:
        `torch.LongTensor` of shape `(num_masked, num_candidates)`: the true token first, no token twice.

    Source: Shen et al. 2021 (TEAMS), https://arxiv.org/abs/2106.00139, and its released code.
    """
    true_ids = original_ids.clamp(min=0)[:, None]
    scores = logits.detach().float()
    noise = -torch.empty_like(scores).exponential_(generator=rng).log()
    noisy = (scores + noise).scatter(1, true_ids, float("-inf"))
    return torch.cat([true_ids, noisy.topk(num_candidates - 1, dim=-1).indices], dim=1)


def copy_mechanism_loss(lm_logits: Tensor, detection_logits: Tensor, input_ids: Tensor, original_ids: Tensor) -> Tensor:
    r"""
    Return the mean of `-log p(original)` over masked slots in nats, where the token read may be copied; 0 without a slot.

    `p(x) = p_copy * 1[x = input] + (1 - p_copy) * p_lm(x)`, computed in float32. `p_copy` is the detector's probability
    that the token is original; it gets no gradient here, so that detection alone trains it.

    Args:
        lm_logits (`torch.FloatTensor` of shape `(num_masked, vocab_size)`): Scores of `p_lm`.
        detection_logits (`torch.FloatTensor` of shape `(num_masked,)`): > 0 where a token looks replaced.
        input_ids (`torch.LongTensor` of shape `(num_masked,)`): The tokens that the discriminator read.
        original_ids (`torch.LongTensor` of shape `(num_masked,)`): The tokens that were masked, -100 ignored.

    Source: Meng et al. 2021 (COCO-LM), https://arxiv.org/abs/2102.08473. Its released code instead multiplies each slot's
    plain cross-entropy by the detached `1 - p_copy`, which keeps little of a slot whose replacement went unnoticed.
    """
    scores, looks_replaced = lm_logits.float(), detection_logits.detach().float()
    known_ids = original_ids.clamp(min=0)
    of_lm = scores.gather(1, known_ids[:, None]).squeeze(1) - scores.logsumexp(dim=-1)
    written = F.logsigmoid(looks_replaced) + of_lm
    copied_or_written = torch.logaddexp(F.logsigmoid(-looks_replaced), written)
    log_probabilities = torch.where(input_ids == known_ids, copied_or_written, written)
    counted = original_ids != -100
    return -torch.where(counted, log_probabilities, 0.0).sum() / counted.sum().clamp(min=1)


def contrastive_loss(
    first: Tensor, second: Tensor, counted: Tensor | None = None, temperature: float = CONTRAST_TEMPERATURE
) -> Tensor:
    r"""
    Return InfoNCE in nats: each view of a text is to find the other among all views of all texts, by cosine similarity.

    The mean runs over both views; a view is never compared with itself. With one text there is nothing to tell apart, and
    the loss is 0.

    Args:
        first, second (`torch.FloatTensor` of shape `(num_texts, size)`): A vector for each text, in either view.
        counted (`torch.BoolTensor` of shape `(num_texts,)`, *optional*): False for rows that are no texts.
        temperature (`float`, *optional*, defaults to 1.0): Divisor of the cosines, > 0.

    Source: Meng et al. 2021 (COCO-LM), https://arxiv.org/abs/2102.08473, and its released code.
    """
    num_texts, device = first.shape[0], first.device
    with torch.autocast(device.type, enabled=False):  # a cosine in bfloat16 has two digits
        vectors = F.normalize(torch.cat([first, second]).float(), dim=-1)  # (2 * num_texts, size)
        similarities = vectors @ vectors.t() / temperature
    hidden = torch.eye(2 * num_texts, dtype=torch.bool, device=device)
    other_view = torch.arange(2 * num_texts, device=device).roll(num_texts)
    if counted is not None:
        counted = counted.repeat(2)
        hidden, other_view = hidden | ~counted, other_view.masked_fill(~counted, -100)
    # the lowest number, not -inf: a row without any text would have no softmax
    return masked_lm_loss(similarities.masked_fill(hidden, torch.finfo(torch.float32).min), other_view)


def crop_documents(
    document_ids: Tensor, kept_fraction: float = KEPT_FRACTION, rng: Generator | None = None
) -> tuple[Tensor, Tensor]:
    r"""
    Choose what a cropped view keeps of each document: the first token, and of the others a random contiguous run.

    The first token stays because its state stands for the text; COCO-LM's released code crops it too unless
    `--add-span-cls` puts it back.

    Args:
        document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The document of each token, -1 padding.
        kept_fraction (`float`, *optional*, defaults to 0.9):
            Fraction of the other tokens that are kept, rounded down, but at least one.
        rng (`torch.Generator`, *optional*): Source of randomness on that device. `None` uses torch's global one.

    Returns:
        `tuple`: two `torch.LongTensor` of shape `(batch_size, sequence_length)`: where in its row each token of the view
        comes from, and the view's document ids. A document begins where it did, with padding (-1) at its end.

    Example:

    >>> places, view = crop_documents(torch.tensor([[0, 0, 0, 0, -1]]), kept_fraction=0.34)
    >>> places[0, 0].item(), places[0, 1].item() in (1, 2, 3), view.tolist()
    (0, True, [[0, 0, -1, -1, -1]])
    """
    real, positions = document_ids >= 0, positions_in_documents(document_ids)
    numbers = ((real & (positions == 0)).flatten().cumsum(dim=0) - 1).clamp(min=0)  # over the whole batch
    # as many as there are tokens, so that no step waits for the device to count the documents
    lengths = torch.zeros_like(numbers).scatter_add(0, numbers, real.flatten().long())
    others = (lengths - 1).clamp(min=0)
    kept = torch.minimum((others * kept_fraction).long().clamp(min=1), others)
    room = others - kept
    draws = torch.rand(room.shape, generator=rng, device=room.device)
    shifts = torch.minimum((draws * (room + 1)).long(), room)
    in_view = real & (positions <= kept[numbers].view_as(positions))
    places = torch.arange(document_ids.shape[1], device=document_ids.device).expand_as(document_ids)
    moved = in_view & (positions > 0)
    places = torch.where(moved, places + shifts[numbers].view_as(positions), places)
    return places, document_ids.masked_fill(~in_view, -1)


# ---- heads ----


class ElectraPlusObjective(nn.Module):
    """Base of the heads: linear, activation, norm, from the encoder's states to vectors that dot products are taken of."""

    # what a step must provide for `loss`, and what it costs
    needs_slot_logits = False  # the generator's scores at masked slots
    scores_vocabulary = False  # at masked slots
    num_encoder_passes = 0  # beside the one of detection

    def __init__(self, config: ElectraPlusConfig, size: int):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = make_norm(config, size)

    def forward(self, states: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(states)))

    def loss(self, batch: CorruptedBatch) -> Tensor:
        """Return the objective's loss, of shape `()`, in nats."""
        raise NotImplementedError


class ElectraPlusMultiWordChoice(ElectraPlusObjective):
    r"""
    At each masked slot, choose the original token among five: itself, and four that the generator finds likely.

    It reads the discriminator's last states, as in TEAMS's released code. There, detection branches off some layers earlier
    and has layers of its own above that; here both read the same states, so the encoder stays one that stock ELECTRA has.
    The generator's scores `(num_masked, vocab_size)` are then made whole, not a few slots at a time.

    Source: Shen et al. 2021 (TEAMS), "Training ELECTRA Augmented with Multi-word Selection",
    https://arxiv.org/abs/2106.00139, and tensorflow/models, official/projects/teams/teams_pretrainer.py.
    """

    needs_slot_logits = True

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config, config.embedding_size)

    def loss(self, batch: CorruptedBatch) -> Tensor:
        """Return the mean cross-entropy over masked slots, in nats (`log 5` for a blind choice)."""
        candidates = draw_candidates(batch.slot_logits, batch.slot_ids)  # (num_masked, NUM_CANDIDATES)
        vectors = self(at_slots(batch.states, batch.slots))  # (num_masked, embedding_size)
        scores = (F.embedding(candidates, batch.word_table) @ vectors[..., None]).squeeze(-1)
        return masked_lm_loss(scores, torch.where(batch.slot_ids == -100, -100, 0))


class ElectraPlusCorrectiveLM(ElectraPlusObjective):
    r"""
    At each masked slot, predict the original token over the vocabulary, or copy the token read.

    The tied word embeddings are the output layer; it has no bias, so that a resized vocabulary changes nothing here. The
    scores `(num_masked, vocab_size)` are as large as the generator's.

    Source: Meng et al. 2021 (COCO-LM), "COCO-LM: Correcting and Contrasting Text Sequences for Language Model Pretraining",
    https://arxiv.org/abs/2102.08473. See [`copy_mechanism_loss`] for how its released code differs.
    """

    scores_vocabulary = True

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config, config.embedding_size)

    def loss(self, batch: CorruptedBatch) -> Tensor:
        """Return the mean of `-log p(original)` over masked slots, in nats."""
        lm_logits = F.linear(self(at_slots(batch.states, batch.slots)), batch.word_table)  # (num_masked, vocab_size)
        read_ids, detection_logits = (
            at_slots(values, batch.slots) for values in (batch.corrupted_ids, batch.detection_logits)
        )
        return copy_mechanism_loss(lm_logits, detection_logits, read_ids, batch.slot_ids)


class ElectraPlusSequenceContrast(ElectraPlusObjective):
    r"""
    Make the first token's state of the corrupted text alike to that of a crop of the original text, and unlike other texts'.

    A text is a document of a packed row, or else a row. The crop costs a second forward of the encoder, drawn by torch's
    global generator. The other texts are those of the batch that this process sees: with several processes, or with
    gradient accumulation, batches are not joined.

    Source: Meng et al. 2021 (COCO-LM), "COCO-LM: Correcting and Contrasting Text Sequences for Language Model Pretraining",
    https://arxiv.org/abs/2102.08473, and the released model and criterion.
    """

    num_encoder_passes = 1

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config, config.hidden_size)

    def loss(self, batch: CorruptedBatch) -> Tensor:
        """Return the mean InfoNCE over both views of every text, in nats (`log(2 * num_texts - 1)` for a blind choice)."""
        padding = {}
        if batch.document_ids is not None:
            documents, num_texts = batch.document_ids, None
        else:
            documents, num_texts = torch.zeros_like(batch.original_ids), len(batch.original_ids)
            if batch.attention_mask is not None:
                if batch.attention_mask.shape != documents.shape:
                    raise ValueError(
                        "`sequence_contrast` in `objective_weights` needs `attention_mask` of shape "
                        f"{tuple(documents.shape)}, 1 for tokens and 0 for padding, got "
                        f"{tuple(batch.attention_mask.shape)}. Give that, or leave the objective out."
                    )
                documents = documents.masked_fill(batch.attention_mask == 0, -1)
        places, view_documents = crop_documents(documents)
        if num_texts is None:
            padding["document_ids"] = view_documents
        else:
            padding["attention_mask"] = (view_documents >= 0).long()
        if batch.token_type_ids is not None:
            padding["token_type_ids"] = batch.token_type_ids.expand_as(places).gather(1, places)
        view_states = batch.encode(batch.original_ids.gather(1, places), **padding)
        begins = ((documents >= 0) & (positions_in_documents(documents) == 0)).flatten()
        if num_texts is None:
            first_tokens = begins.nonzero().squeeze(1)
        else:  # known, so no step waits for the device to count; -1 for a row of padding only
            first_tokens = torch.nonzero_static(begins, size=num_texts, fill_value=-1).squeeze(1)
        views = (self(at_slots(states, first_tokens)) for states in (batch.states, view_states))
        return contrastive_loss(*views, counted=first_tokens >= 0)


OBJECTIVES = {
    "multi_word_choice": ElectraPlusMultiWordChoice,
    "corrective_lm": ElectraPlusCorrectiveLM,
    "sequence_contrast": ElectraPlusSequenceContrast,
}


def objective_heads(config: ElectraPlusConfig) -> nn.ModuleDict:
    """Return a head for each objective that `config.objective_weights` names, in the order of the table."""
    wanted = config.objective_weights or {}
    return nn.ModuleDict({name: head(config) for name, head in OBJECTIVES.items() if name in wanted})


def weights_in_use(heads: nn.ModuleDict, config: ElectraPlusConfig) -> dict[str, float]:
    """Return the weights > 0 in `config.objective_weights`; raise a `ValueError` if one of them has no head in `heads`."""
    weights = {name: weight for name, weight in (config.objective_weights or {}).items() if weight}
    lacking = sorted(weights.keys() - heads.keys())
    if lacking:
        raise ValueError(
            f"`objective_weights` names {lacking}, for which this model was built without a head. Set the field before "
            "building or loading the model, with weight 0 for what begins later."
        )
    # always in this order, which a saved config does not keep: the objectives draw from one source of randomness
    return {name: weights[name] for name in heads if name in weights}
