"""Classification of long texts: a chunk encoder, a small encoder over chunk vectors, and attention that says what decided."""

import copy
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_electra_plus import ElectraPlusConfig
from .layers_electra_plus import ElectraPlusEncoder
from .modeling_electra_plus import ElectraPlusModel, ElectraPlusPreTrainedModel
from .modeling_electra_plus_heads import ElectraPlusClassificationHead
from .packing_electra_plus import packed_attention_mask, positions_in_documents, unpack_documents


@dataclass
class ElectraPlusForLongSequenceClassificationOutput(ModelOutput):
    """
    Output of [`ElectraPlusForLongSequenceClassification`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, given with `labels`): Classification or regression loss.
        logits (`torch.FloatTensor` of shape `(batch_size, num_labels)`): Scores.
        chunk_weights (`torch.FloatTensor` of shape `(batch_size, num_chunks)`): What each chunk weighs; sums to 1 for a text.
        token_weights (`torch.FloatTensor` of shape `(batch_size, sequence_length)`):
            What each token weighs; sums to 1 for a text, and to its chunk's weight within a chunk.
        hidden_states, attentions (`tuple[torch.FloatTensor]`, *optional*):
            Of the chunk encoder's layers, on request; their first dimension runs over the chunks of all texts.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    chunk_weights: Tensor | None = None
    token_weights: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


# Not named Attention: transformers takes a module of that name for one that ignores the attention interface.
class ElectraPlusWeightedPooling(nn.Module):
    """
    Attention pooling: the mean of vectors by weights that are learned and returned.

    Source: Yang et al. 2016, https://aclanthology.org/N16-1174, equations 5 to 7.
    """

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.score = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        Pool `(batch_size, length, hidden_size)` where `mask` `(batch_size, length)` is not 0.

        Returns:
            `tuple`: vectors `(batch_size, hidden_size)` and weights `(batch_size, length)`, 0 for padding.
        """
        scores = self.score(torch.tanh(self.dense(states))).squeeze(-1).float()
        weights = scores.masked_fill(mask == 0, torch.finfo(scores.dtype).min).softmax(dim=-1)
        return torch.einsum("bl,blh->bh", weights.to(states.dtype), states), weights


class ElectraPlusForLongSequenceClassification(ElectraPlusPreTrainedModel):
    r"""
    One label, several labels or a number for a text of any length.

    The text is cut into chunks, each is encoded alone and pooled by attention over its tokens, a small encoder relates the
    chunk vectors, and attention over chunks gives the text's vector. Time and memory grow linearly with the text. In
    training, `config.chunks_at_once` chunks are in memory at a time and the others are computed again for their gradient.

    Example:

    ```python
    >>> import torch
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForLongSequenceClassification
    >>> config = ElectraPlusConfig.preset("tiny", vocab_size=100, num_labels=3, chunk_length=16)
    >>> outputs = ElectraPlusForLongSequenceClassification(config)(torch.randint(5, 100, (2, 70)))
    >>> outputs.logits.shape, outputs.chunk_weights.shape, outputs.token_weights.shape
    (torch.Size([2, 3]), torch.Size([2, 5]), torch.Size([2, 70]))

    ```
    """

    # regression and multi-label losses are means and do not use `num_items_in_batch`
    accepts_loss_kwargs = False

    def __init__(self, config: ElectraPlusConfig):
        if config.position_embedding == "absolute" and config.chunk_length > config.max_position_embeddings:
            raise ValueError(
                f"`chunk_length` ({config.chunk_length}) must not exceed `max_position_embeddings` "
                f"({config.max_position_embeddings}). Use shorter chunks."
            )
        super().__init__(config)
        self.num_labels = config.num_labels
        self.loss_type = "ForSequenceClassification"
        self.electra = ElectraPlusModel(config)
        self.token_pooling = ElectraPlusWeightedPooling(config)
        self.chunk_encoder = ElectraPlusEncoder(_chunk_encoder_config(config))
        self.chunk_pooling = ElectraPlusWeightedPooling(config)
        self.classifier = ElectraPlusClassificationHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        chunk_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ElectraPlusForLongSequenceClassificationOutput:
        r"""
        Classify each text.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Token ids, as many as the text has.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): 1 for tokens, 0 for padding.
            token_type_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): Segment ids.
            position_ids: Without effect; every chunk counts from 0.
            chunk_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                The chunk of each token within its text, in rising order. `None` cuts every `config.chunk_length` tokens.
            labels (`torch.Tensor` of shape `(batch_size,)` or `(batch_size, num_labels)`, *optional*):
                Class ids, one 0/1 float for each label, or target numbers, by `config.problem_type`.

        Returns:
            [`ElectraPlusForLongSequenceClassificationOutput`]

        Raises:
            ValueError: A row has no token, or a chunk is longer than the encoder's positions.
        """
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        if not real.any(dim=1).all():
            empty = (~real.any(dim=1)).nonzero().flatten().tolist()
            raise ValueError(f"`attention_mask` hides every token of rows {empty}. Leave empty texts out.")
        numbers, text_of_chunk = self._number_chunks(chunk_ids, real)
        tokens = torch.stack([input_ids] if token_type_ids is None else [input_ids, token_type_ids], dim=-1)
        rows, mask = unpack_documents(tokens, numbers)  # (all chunks, longest, 1 or 2)
        segments = None if token_type_ids is None else rows[..., 1]
        vectors, weights, *layers = self._encode_chunks(rows[..., 0], mask, segments, **kwargs)

        states, chunk_mask = unpack_documents(
            vectors[None], text_of_chunk[None]
        )  # (batch_size, num_chunks, hidden_size)
        states = self._relate_chunks(states, chunk_mask)
        text_vectors, chunk_weights = self.chunk_pooling(states, chunk_mask)
        logits = self.classifier(text_vectors[:, None], None)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)

        of_chunk = weights * chunk_weights[chunk_mask.bool()][:, None]  # (all chunks, longest)
        places = positions_in_documents(numbers).clamp(max=of_chunk.shape[1] - 1)
        token_weights = of_chunk[numbers.clamp(min=0), places].masked_fill(~real, 0.0)
        return ElectraPlusForLongSequenceClassificationOutput(
            loss=loss,
            logits=logits,
            chunk_weights=chunk_weights,
            token_weights=token_weights,
            hidden_states=layers[0] or None,
            attentions=layers[1] or None,
        )

    def _number_chunks(self, chunk_ids: Tensor | None, real: Tensor) -> tuple[Tensor, Tensor]:
        """Number the chunks of all texts from 0: of each token, -1 for padding, and the text of each chunk."""
        if chunk_ids is None:
            # counted over real tokens, so that padding on the left moves no border
            chunk_ids = (real.cumsum(dim=1) - 1).clamp(min=0) // self.config.chunk_length
        stride = chunk_ids.max() + 1
        rows = torch.arange(len(real), device=real.device)[:, None]
        # one number for each pair of text and chunk: `unique` over pairs compares them one by one
        numbers, of_token = torch.unique((rows * stride + chunk_ids)[real], return_inverse=True)
        return torch.full_like(chunk_ids, -1).masked_scatter(real, of_token), numbers // stride

    def _encode_chunks(self, input_ids, mask, token_type_ids, **kwargs):
        """Return a vector for each chunk, `(all chunks, hidden_size)`, its tokens' weights, and what layers return."""

        def encode(ids, visible, segments):
            outputs = self.electra(ids, attention_mask=visible, token_type_ids=segments, **kwargs)
            layers = (outputs.hidden_states or (), outputs.attentions or ())
            return *self.token_pooling(outputs.last_hidden_state, visible), *layers

        step = self.config.chunks_at_once
        groups = range(0, len(input_ids), step)
        encoded = []
        for start in groups:
            group = [None if part is None else part[start : start + step] for part in (input_ids, mask, token_type_ids)]
            if self.training and torch.is_grad_enabled() and len(groups) > 1:
                encoded.append(checkpoint(encode, *group, use_reentrant=False))
            else:
                encoded.append(encode(*group))
        vectors, weights, *layers = zip(*encoded, strict=True)
        joined = [tuple(map(torch.cat, zip(*groups_of_layers, strict=True))) for groups_of_layers in layers]
        return torch.cat(vectors), torch.cat(weights), *joined

    def _relate_chunks(self, states: Tensor, mask: Tensor) -> Tensor:
        position_ids = torch.arange(states.shape[1], device=states.device)[None]
        # padding looks at padding, as in packed rows, so that no row of scores is empty
        visible = packed_attention_mask(mask - 1, states.dtype)
        return self.chunk_encoder(states, {"full_attention": visible}, position_ids)


def _chunk_encoder_config(config: ElectraPlusConfig) -> ElectraPlusConfig:
    """Return the fields of the encoder over chunk vectors: as wide, pre-norm with rotary positions, global attention."""
    chunk_config = copy.deepcopy(config)
    chunk_config.num_hidden_layers = config.num_chunk_layers
    chunk_config.layer_types = ["full_attention"] * config.num_chunk_layers
    chunk_config.norm_position = "pre"
    chunk_config.position_embedding = "rotary"
    chunk_config.is_decoder = chunk_config.add_cross_attention = False
    chunk_config._attn_implementation = "sdpa"
    return chunk_config


__all__ = ["ElectraPlusForLongSequenceClassification"]
