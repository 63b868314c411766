"""
Building blocks of the ElectraPlus encoder: embeddings, norms, rotary positions, attention, MLP, layer.

Where it departs from stock ELECTRA: every block has a norm before it and one after it, and the configuration makes one of
the two an identity, so a single `forward` serves post-norm and pre-norm. Names and shapes of the parameters are those of
released ELECTRA checkpoints. There are no buffers: position tables are computed from `position_ids` in each forward pass,
since a non-persistent buffer holds garbage after `from_pretrained`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.pytorch_utils import apply_chunking_to_forward

from .configuration_electra_plus import ElectraPlusConfig
from .dropout_electra_plus import ElectraPlusDropout
from .local_attention_electra_plus import block_attention
from .objectives_electra_plus import at_slots
from .short_attention_electra_plus import compute_dtype, short_attention, short_attention_wins


def make_norm(config: ElectraPlusConfig, size: int) -> nn.Module:
    """Return the norm that `norm_type` and `use_bias` ask for, over the last dimension of `size` channels."""
    if config.norm_type == "rmsnorm":
        return nn.RMSNorm(size, eps=config.layer_norm_eps)
    return nn.LayerNorm(size, eps=config.layer_norm_eps, bias=config.use_bias)


class ElectraPlusEmbeddings(nn.Module):
    """Sum of word, position (absolute only) and segment embeddings, normalised."""

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.position_embeddings = None
        if config.position_embedding == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.embedding_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.embedding_size)
        self.LayerNorm = make_norm(config, config.embedding_size)
        self.dropout = ElectraPlusDropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor,
        inputs_embeds: Tensor | None,
    ) -> Tensor:
        embeddings = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            # looked up, not taken: accelerate loads offloaded weights when their module is called
            token_type_ids = torch.zeros(1, 1, dtype=torch.long, device=embeddings.device)
        embeddings = embeddings + self.token_type_embeddings(token_type_ids)
        if self.position_embeddings is not None:
            embeddings = embeddings + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embeddings))  # (batch_size, sequence_length, embedding_size)


def rotary_tables(position_ids: Tensor, head_size: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """
    Return cosine and sine of the rotary angles, each of shape `(batch_size, 1, sequence_length, head_size)`.

    Source: Su et al. 2021, https://arxiv.org/abs/2104.09864, equation 34; channel `i` is paired with `i + head_size / 2`.
    """
    channels = torch.arange(0, head_size, 2, device=position_ids.device, dtype=torch.float32)
    # float32: angles of far positions lose all precision in half precision
    angles = position_ids[:, None, :, None].float() * theta ** (-channels / head_size)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(states: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn `states` of shape `(batch_size, num_heads, sequence_length, head_size)` by their positions' angles."""
    cos, sin = tables
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[Tensor, Tensor]:
    """Attend in plain matrix products: the reference, and the only implementation that returns the weights."""
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.size(-1) ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def at_positions(states: Tensor, positions: Tensor) -> Tensor:
    """Return states `(batch_size, sequence_length, size)` at some positions `(batch_size, num)` of each row."""
    batch_size, length, size = states.shape
    slots = positions + torch.arange(batch_size, device=positions.device)[:, None] * length
    return at_slots(states, slots.flatten()).view(batch_size, -1, size)


def rows_at_positions(table: Tensor, positions: Tensor) -> Tensor:
    """The same for a table of each token, of shape `(batch_size or 1, 1, sequence_length, size)`."""
    batch = torch.arange(len(positions), device=positions.device)[:, None]
    return table.expand(len(positions), -1, -1, -1)[batch, 0, positions][:, None]


class MultiHeadAttention(nn.Module):
    """Projections and the call into transformers' attention interface, for self- and cross-attention."""

    is_causal = False
    sliding_window: int | None = None

    def __init__(self, config: ElectraPlusConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.query = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.key = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.value = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def _split_heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:-1], -1, self.head_size).transpose(1, 2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs):
        dropout = self.dropout.p if self.training else 0.0
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 5:  # one for each block of the row
            return block_attention(query, key, value, attention_mask, dropout, self.scaling).flatten(-2), None
        sdpa = self.config._attn_implementation == "sdpa"
        masked_if_causal = attention_mask is not None or not self.is_causal
        if sdpa and masked_if_causal and short_attention_wins(query, key, dropout):
            return short_attention(query, key, value, attention_mask, self.scaling, dropout).flatten(-2), None
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return output.flatten(-2), weights  # (batch_size, sequence_length, hidden_size)


class ElectraPlusSelfAttention(MultiHeadAttention):
    """Multi-head self-attention, global or within a window, bidirectional or causal."""

    def __init__(self, config: ElectraPlusConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        self.is_causal = config.is_decoder
        # Only flash attention reads this; the others get the window in their mask. Its bounds are inclusive, one more than ours.
        local = config.layer_types[layer_idx] == "sliding_attention"
        self.sliding_window = config.sliding_window + (not config.is_decoder) if local else None

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Cache | None = None,
        query_positions: Tensor | None = None,
        **kwargs,
    ) -> tuple[Tensor, Tensor | None]:
        asking, of_queries = hidden_states, position_embeddings
        if query_positions is not None:
            asking = at_positions(hidden_states, query_positions)
            if position_embeddings is not None:
                of_queries = tuple(rows_at_positions(table, query_positions) for table in position_embeddings)
            if attention_mask is not None:
                attention_mask = rows_at_positions(attention_mask, query_positions)
        query = self._split_heads(self.query(asking))
        key = self._split_heads(self.key(hidden_states))
        value = self._split_heads(self.value(hidden_states))
        if position_embeddings is not None:
            query, key = rotate(query, of_queries), rotate(key, position_embeddings)
        if past_key_values is not None:
            cache = past_key_values
            if isinstance(cache, EncoderDecoderCache):
                cache = cache.self_attention_cache
            key, value = cache.update(key, value, self.layer_idx)
        return self._attend(query, key, value, attention_mask, sliding_window=self.sliding_window, **kwargs)


class ElectraPlusCrossAttention(MultiHeadAttention):
    """Attention from decoder states to an encoder's states, whose keys and values are computed once and cached."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        **kwargs,
    ) -> tuple[Tensor, Tensor | None]:
        query = self._split_heads(self.query(hidden_states))
        if past_key_values is not None and past_key_values.is_updated.get(self.layer_idx):
            cached = past_key_values.cross_attention_cache.layers[self.layer_idx]
            key, value = cached.keys, cached.values
        else:
            key = self._split_heads(self.key(encoder_hidden_states))
            value = self._split_heads(self.value(encoder_hidden_states))
            if past_key_values is not None:
                key, value = past_key_values.cross_attention_cache.update(key, value, self.layer_idx)
                past_key_values.is_updated[self.layer_idx] = True
        return self._attend(query, key, value, attention_mask, **kwargs)


class ElectraPlusResidual(nn.Module):
    """Close a block: project back to `hidden_size`, drop out, add the block's input, normalise (post-norm)."""

    def __init__(self, config: ElectraPlusConfig, input_size: int):
        super().__init__()
        self.dense = nn.Linear(input_size, config.hidden_size, bias=config.use_bias)
        # A mark on the linear layer: of custom classes, transformers initialises only modules that own parameters.
        self.dense.closes_residual_branch = True
        self.LayerNorm = make_norm(config, config.hidden_size) if config.norm_position == "post" else nn.Identity()
        self.dropout = ElectraPlusDropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + residual)


def make_input_norm(config: ElectraPlusConfig, first: bool = False) -> nn.Module:
    """Return the norm that opens a block: an identity for post-norm, and where the embeddings' norm came just before."""
    if config.norm_position == "post" or (first and config.embedding_size == config.hidden_size):
        return nn.Identity()
    return make_norm(config, config.hidden_size)


class ElectraPlusAttention(nn.Module):
    """Attention block with its norms and its residual connection."""

    def __init__(self, config: ElectraPlusConfig, layer_idx: int, cross_attention: bool = False):
        super().__init__()
        self.input_norm = make_input_norm(config, first=layer_idx == 0 and not cross_attention)
        self.self = (ElectraPlusCrossAttention if cross_attention else ElectraPlusSelfAttention)(config, layer_idx)
        self.output = ElectraPlusResidual(config, config.hidden_size)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None, query_positions: Tensor | None = None, **kwargs
    ) -> Tensor:
        if query_positions is not None:
            kwargs["query_positions"] = query_positions
        attended, _ = self.self(self.input_norm(hidden_states), attention_mask, **kwargs)
        if query_positions is not None:
            hidden_states = at_positions(hidden_states, query_positions)
        return self.output(attended, hidden_states)


class ElectraPlusIntermediate(nn.Module):
    """Opening half of the standard MLP: `activation(x W)`."""

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.use_bias)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.activation(self.dense(hidden_states))  # (batch_size, sequence_length, intermediate_size)


class ElectraPlusGatedIntermediate(ElectraPlusIntermediate):
    """
    Opening half of the gated MLP: `activation(x W) * (x V)`, with W and V in one matrix.

    Source: Shazeer 2020, https://arxiv.org/abs/2002.05202, equation 6 (GeGLU).
    """

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.dense = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.use_bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        gate, values = self.dense(hidden_states).chunk(2, dim=-1)
        return self.activation(gate) * values


class ElectraPlusLayer(GradientCheckpointingLayer):
    """One transformer layer: self-attention, optional cross-attention, MLP."""

    def __init__(self, config: ElectraPlusConfig, layer_idx: int):
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.attention = ElectraPlusAttention(config, layer_idx)
        if config.add_cross_attention:
            self.crossattention = ElectraPlusAttention(config, layer_idx, cross_attention=True)
        self.input_norm = make_input_norm(config)
        gated = config.mlp_type == "gated"
        self.intermediate = (ElectraPlusGatedIntermediate if gated else ElectraPlusIntermediate)(config)
        self.output = ElectraPlusResidual(config, config.intermediate_size)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Cache | None = None,
        **kwargs,
    ) -> Tensor:
        hidden_states = self.attention(
            hidden_states,
            attention_mask,
            position_embeddings=position_embeddings,
            past_key_values=past_key_values,
            **kwargs,
        )
        if encoder_hidden_states is not None:
            hidden_states = self.crossattention(
                hidden_states,
                encoder_attention_mask,
                encoder_hidden_states=encoder_hidden_states,
                past_key_values=past_key_values,
                **kwargs,
            )
        return apply_chunking_to_forward(self.feed_forward, self.chunk_size_feed_forward, 1, hidden_states)

    def feed_forward(self, hidden_states: Tensor) -> Tensor:
        return self.output(self.intermediate(self.input_norm(hidden_states)), hidden_states)


class ElectraPlusEncoder(nn.Module):
    """
    Stack of layers. Each gets the mask and the rotary tables of its own attention pattern.

    With `query_positions` `(batch_size, num)` the last layer computes the states of those positions only, `(batch_size, num,
    hidden_size)`; keys and values are still those of all tokens.
    """

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.layer_types = config.layer_types
        self.layer = nn.ModuleList(ElectraPlusLayer(config, layer_idx) for layer_idx in range(config.num_hidden_layers))
        self.final_norm = make_norm(config, config.hidden_size) if config.norm_position == "pre" else nn.Identity()
        self.head_size = config.hidden_size // config.num_attention_heads
        self.rope_thetas: dict[str, float] = {}
        if config.position_embedding == "rotary":
            thetas = {"full_attention": config.global_rope_theta, "sliding_attention": config.local_rope_theta}
            self.rope_thetas = {kind: thetas[kind] for kind in sorted(set(config.layer_types))}

    def forward(
        self,
        hidden_states: Tensor,
        attention_masks: dict[str, Tensor | None],
        position_ids: Tensor,
        encoder_hidden_states: Tensor | None = None,
        query_positions: Tensor | None = None,
        **kwargs,
    ) -> Tensor:
        dtype = compute_dtype(hidden_states)  # of queries and keys
        tables = {
            kind: rotary_tables(position_ids, self.head_size, theta, dtype) for kind, theta in self.rope_thetas.items()
        }
        for number, (layer, kind) in enumerate(zip(self.layer, self.layer_types, strict=True), start=1):
            if query_positions is not None and number == len(self.layer):
                kwargs["query_positions"] = query_positions
            hidden_states = layer(
                hidden_states,
                attention_masks[kind],
                encoder_hidden_states,  # positional: gradient checkpointing keeps gradients of positional inputs only
                position_embeddings=tables.get(kind),
                position_ids=position_ids,
                **kwargs,
            )
        return self.final_norm(hidden_states)
