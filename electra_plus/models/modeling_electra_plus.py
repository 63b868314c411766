"""The ElectraPlus encoder, the base class of every ElectraPlus model, and the outputs of the pretraining models."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Unpack

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.masking_utils import (
    create_bidirectional_mask,
    create_bidirectional_sliding_window_mask,
    create_causal_mask,
    create_sliding_window_causal_mask,
)
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_electra_plus import ElectraPlusConfig
from .embedding_sharing_electra_plus import ElectraPlusEmbeddingDifferences
from .layers_electra_plus import (
    ElectraPlusCrossAttention,
    ElectraPlusEmbeddings,
    ElectraPlusEncoder,
    ElectraPlusLayer,
    ElectraPlusSelfAttention,
)
from .local_attention_electra_plus import block_length, block_mask
from .objectives_electra_plus import at_slots, slots_by_row
from .packing_electra_plus import default_positions, flash_arguments, packed_document_ids, within_documents
from .short_attention_electra_plus import compute_dtype, mask_to_add

# Stock BERT's names -> ours, so that its folders load directly. ELECTRA's names are ours already.
STOCK_BERT_KEY_MAPPING = {
    r"^bert\.": "electra.",
    r"^cls\.predictions\.transform\.": "generator_predictions.",
    r"^cls\.predictions\.decoder\.weight": "generator_lm_head.weight",
    r"^cls\.predictions\.(decoder\.)?bias": "generator_lm_head.bias",
    r"\.LayerNorm\.gamma$": ".LayerNorm.weight",
    r"\.LayerNorm\.beta$": ".LayerNorm.bias",
}


class ElectraPlusPreTrainedModel(PreTrainedModel):
    """Base class: weight initialisation, loading of ElectraPlus, stock ELECTRA and stock BERT folders."""

    config_class = ElectraPlusConfig
    config: ElectraPlusConfig
    base_model_prefix = "electra"
    supports_gradient_checkpointing = True
    # layers only: accelerate makes an FSDP unit of each, and cannot make one of embeddings that a head is tied to
    _no_split_modules = ["ElectraPlusLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {
        "hidden_states": ElectraPlusLayer,
        "attentions": ElectraPlusSelfAttention,
        "cross_attentions": ElectraPlusCrossAttention,
    }
    # Called with a folder that is about to be uploaded: an installed package puts the code there, by which anyone opens it.
    _complete_for_upload: Callable[[str], None] | None = None
    # Parts of a checkpoint that another head left there: a joint folder serves every head without a word of warning.
    _keys_to_ignore_on_load_unexpected = [
        r"^generator\.",
        r"^embedding_differences\.",
        r"^objectives\.",
        r"^(generator|discriminator)_predictions\.",
        r"^generator_lm_head\.",
        r"^(bert\.|electra\.)?pooler\.",
        r"^cls\.seq_relationship\.",
        r"position_ids$",
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, ElectraPlusEmbeddingDifferences):
            for difference in module.parameters():
                init.zeros_(difference)
        if self.config.depth_scaled_init and getattr(module, "closes_residual_branch", False):
            # so that the sum over all residual branches keeps its variance whatever the depth (GPT-2, section 2.3)
            std = self.config.initializer_range / math.sqrt(2 * self.config.num_hidden_layers)
            init.normal_(module.weight, mean=0.0, std=std)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args, **kwargs) -> nn.Embedding:
        """Resize the token table; arguments as in [`PreTrainedModel.resize_token_embeddings`]."""
        embeddings = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        if self.config.generator_config is not None:
            # a head of a joint checkpoint keeps this field, and its own checkpoint must load again
            self.config.generator_config.vocab_size = self.config.vocab_size
        return embeddings

    def _upload_modified_files(self, working_dir, *args, **kwargs):
        # what `push_to_hub` and `save_pretrained(push_to_hub=True)` do with what they saved
        if self._complete_for_upload is not None:
            self._complete_for_upload(working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """
        Load weights from a folder or the Hub: ElectraPlus checkpoints, and those of stock `electra` and `bert` models.

        Takes the arguments of [`PreTrainedModel.from_pretrained`]. Weights that the files lack are reported by name.
        """
        if _is_stock_bert(pretrained_model_name_or_path, kwargs):
            kwargs["key_mapping"] = {**STOCK_BERT_KEY_MAPPING, **(kwargs.get("key_mapping") or {})}
        try:
            loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        except SafetensorError as error:
            raise OSError(
                f"A weight file (model.safetensors or a shard) of `{pretrained_model_name_or_path}` is incomplete or "
                f"damaged: {error}. Copy or download it again."
            ) from error
        if "key_mapping" in kwargs:
            model = loaded[0] if isinstance(loaded, tuple) else loaded
            # transformers would apply the renaming backwards on save and write foreign names under our model type
            if hasattr(model, "_weight_conversions"):
                del model._weight_conversions
        return loaded


def _is_stock_bert(path, kwargs: dict) -> bool:
    if path is None:
        return False
    hub_kwargs = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
    config_dict, _ = super(ElectraPlusConfig, ElectraPlusConfig).get_config_dict(
        path, **{name: kwargs[name] for name in hub_kwargs if kwargs.get(name) is not None}
    )
    return config_dict.get("model_type") == "bert"


class ElectraPlusModel(ElectraPlusPreTrainedModel):
    r"""
    Encoder (or decoder, with `config.is_decoder`) without a head.

    Example:

    ```python
    >>> import torch
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusModel
    >>> model = ElectraPlusModel(ElectraPlusConfig.preset("modern-tiny", vocab_size=100))
    >>> model(torch.tensor([[2, 7, 9, 3]])).last_hidden_state.shape
    torch.Size([1, 4, 128])

    ```
    """

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.embeddings = ElectraPlusEmbeddings(config)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = nn.Linear(config.embedding_size, config.hidden_size)
        else:
            self.embeddings_project = nn.Identity()
        self.encoder = ElectraPlusEncoder(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding):
        self.embeddings.word_embeddings = value

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        document_ids: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        r"""
        Encode a batch of token rows.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Token ids. Exactly one of `input_ids` and `inputs_embeds` is given.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for tokens, 0 for padding. `None` means no padding. A prepared mask of shape
                `(batch_size, 1, sequence_length, key_length)` is used as it is in every layer.
            token_type_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Segment ids. `None` is segment 0.
            position_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Positions in `[0, max_position_embeddings)`. `None` counts from 0 (after what the cache holds). In an encoder,
                a 0 within a row begins another document, which is kept apart as `document_ids` would.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Word vectors instead of ids.
            encoder_hidden_states (`torch.FloatTensor` of shape `(batch_size, source_length, hidden_size)`, *optional*):
                States to attend to; needs `add_cross_attention=True`.
            encoder_attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*): 1 for tokens, 0 for padding.
            past_key_values ([`~transformers.Cache`], *optional*): Keys and values of earlier tokens (decoder only).
            use_cache (`bool`, *optional*): Return such a cache. `None` takes `config.use_cache` of a decoder.
            document_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                For packed rows: the document of each token, -1 for padding. Tokens attend within their document only, and
                positions restart in each. `cu_seq_lens_q`, as flash attention takes it, does the same for a single row.

        Returns:
            [`~transformers.modeling_outputs.BaseModelOutputWithPastAndCrossAttentions`]

        Raises:
            ValueError: Not exactly one of `input_ids` and `inputs_embeds`, rows longer than the position table,
                `encoder_hidden_states` for a model without cross-attention, or packed rows with a cache.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of `input_ids` and `inputs_embeds`.")
        if encoder_hidden_states is not None and not self.config.add_cross_attention:
            raise ValueError(
                "`encoder_hidden_states` needs cross-attention layers. Build the model with "
                "`is_decoder=True, add_cross_attention=True` in its config."
            )
        if document_ids is not None and past_key_values is not None:
            raise ValueError(
                "`document_ids` are for whole texts, got `past_key_values` as well. Leave one of them out."
            )
        use_cache = bool(use_cache) and self.config.is_decoder and document_ids is None
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
            if encoder_hidden_states is not None:
                past_key_values = EncoderDecoderCache(past_key_values, DynamicCache())
        if isinstance(past_key_values, EncoderDecoderCache) and any(past_key_values.cross_attention_cache.is_sliding):
            # `generate` builds both caches with the windows of local layers, but cross-attention reads the whole source
            past_key_values.cross_attention_cache = DynamicCache()

        tokens = input_ids if inputs_embeds is None else inputs_embeds
        if document_ids is None and not self.config.is_decoder:
            document_ids = packed_document_ids(position_ids, attention_mask, kwargs.get("cu_seq_lens_q"))
        if document_ids is not None:
            if document_ids.shape != tokens.shape[:2]:
                raise ValueError(
                    f"`document_ids` must be of shape {tuple(tokens.shape[:2])}, a number for each token, got "
                    f"{tuple(document_ids.shape)}."
                )
            if self.config._attn_implementation.startswith("flash") and "cu_seq_lens_q" not in kwargs:
                kwargs.update(flash_arguments(document_ids))
        past_length = past_key_values.get_seq_length() if past_key_values is not None else 0
        if self.embeddings.position_embeddings is not None and position_ids is None and document_ids is None:
            length = past_length + tokens.shape[1]
            limit = self.embeddings.position_embeddings.num_embeddings
            if length > limit:
                raise ValueError(
                    f"`input_ids` has {length} tokens, but `max_position_embeddings` is {limit}. Truncate in the tokenizer "
                    f"(`truncation=True, max_length={limit}`) or use a model with rotary positions."
                )
        if position_ids is None:
            position_ids = default_positions(tokens, document_ids, past_length)

        hidden_states = self.embeddings_project(self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds))
        hidden_states = self.encoder(
            hidden_states,
            self._attention_masks(attention_mask, hidden_states, past_key_values, document_ids),
            position_ids,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=self._cross_attention_mask(
                encoder_attention_mask, hidden_states, encoder_hidden_states
            ),
            past_key_values=past_key_values,
            **kwargs,
        )
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states, past_key_values=past_key_values if use_cache else None
        )

    def states_at_slots(
        self, input_ids: Tensor, slots: Tensor, **inputs
    ) -> tuple[Tensor, BaseModelOutputWithPastAndCrossAttentions]:
        r"""
        Encode a batch of which only some slots matter; the values are those of the whole, at less cost.

        Where the number of slots can be asked without waiting (on processors) the last layer leaves the others out: a layer with
        15 % of its queries takes about a third of the time.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): As in `forward`.
            slots (`torch.LongTensor` of shape `(num_slots,)`): Places in the flattened batch, from [`masked_slots`].
            inputs: Further arguments of `forward`.

        Returns:
            `tuple`: states `(num_slots, hidden_size)`, any values where a slot is -1; and what `forward` returned.
        """
        if not self._last_layer_may_leave_out(input_ids, slots, **inputs):
            outputs = self(input_ids, **inputs)
            return at_slots(outputs.last_hidden_state, slots), outputs
        positions, places = slots_by_row(slots, *input_ids.shape)
        outputs = self(input_ids, query_positions=positions, **inputs)
        return at_slots(outputs.last_hidden_state, places), outputs

    def _last_layer_may_leave_out(self, input_ids, slots, attention_mask=None, inputs_embeds=None, **inputs) -> bool:
        if inputs_embeds is not None or torch.compiler.is_compiling() or slots.device.type != "cpu":
            return False
        if self.config.chunk_size_feed_forward or (attention_mask is not None and attention_mask.dim() != 2):
            return False
        recorded = ("output_hidden_states", "output_attentions")
        asked = {name: inputs.get(name) for name in recorded}
        if any(getattr(self.config, name) if given is None else given for name, given in asked.items()):
            return False  # whoever looks into the layers wants to find them whole
        in_blocks = self.config.layer_types[-1] == "sliding_attention" and self._attends_in_blocks(
            attention_mask, input_ids.shape[1]
        )
        ordinary = self.config._attn_implementation in ("sdpa", "eager") and not self.config.is_decoder
        return ordinary and not in_blocks and bool((slots >= 0).any())

    def _attention_masks(
        self, attention_mask, hidden_states, past_key_values, document_ids
    ) -> dict[str, Tensor | None]:
        """Return one mask for each kind of layer; `None` where nothing has to be hidden."""
        arguments = {"config": self.config, "inputs_embeds": hidden_states, "attention_mask": attention_mask}
        sdpa = self.config._attn_implementation == "sdpa" and not self.config.is_decoder
        if document_ids is not None:
            # padding is a document of its own, so that its tokens have something to look at
            arguments["attention_mask"] = attention_mask = None
            arguments["and_mask_function"] = lambda batch_idx, head_idx, q_idx, kv_idx: (
                document_ids[batch_idx, q_idx] == document_ids[batch_idx, kv_idx]
            )
        if self.config.is_decoder:
            arguments["past_key_values"] = past_key_values
            make = {"full_attention": create_causal_mask, "sliding_attention": create_sliding_window_causal_mask}
        elif sdpa and document_ids is not None:
            make = {  # transformers calls its mask functions through vmap, which takes a while
                "full_attention": lambda **_: within_documents(document_ids),
                "sliding_attention": lambda **_: within_documents(document_ids, self.config.sliding_window),
            }
        else:
            make = {
                "full_attention": create_bidirectional_mask,
                "sliding_attention": create_bidirectional_sliding_window_mask,
            }
        if attention_mask is None and document_ids is None and not self.config.is_decoder:
            # under a compiler transformers makes a mask that hides nothing, and with it attention takes the slowest kernel
            make["full_attention"] = lambda **_: None
        makers = {kind: make[kind] for kind in sorted(set(self.config.layer_types))}
        if self._attends_in_blocks(attention_mask, hidden_states.shape[1]):
            makers["sliding_attention"] = partial(self._block_mask, document_ids=document_ids)
        masks = {kind: make_mask(**arguments) for kind, make_mask in makers.items()}
        if sdpa and hidden_states.device.type == "cpu":
            masks = {kind: mask_to_add(mask, compute_dtype(hidden_states)) for kind, mask in masks.items()}
        return masks

    def _attends_in_blocks(self, attention_mask: Tensor | None, length: int) -> bool:
        """Whether local layers can and should do without a mask of the whole row."""
        window = self.config.sliding_window
        return (
            window is not None
            and not self.config.is_decoder
            and self.config._attn_implementation == "sdpa"
            and (attention_mask is None or attention_mask.dim() == 2)
            and not torch.compiler.is_exporting()  # an exported graph takes rows of any length, so of any number of blocks
            and length > block_length(window) + 2 * window  # the keys of a block; a shorter row has fewer
        )

    def _block_mask(self, config, inputs_embeds, attention_mask, document_ids, **kwargs) -> Tensor:
        batch_size, length, _ = inputs_embeds.shape
        dtype, device = inputs_embeds.dtype, inputs_embeds.device
        return block_mask(length, config.sliding_window, batch_size, dtype, device, attention_mask, document_ids)

    def _cross_attention_mask(self, encoder_attention_mask, hidden_states, encoder_hidden_states) -> Tensor | None:
        if encoder_attention_mask is None or encoder_hidden_states is None:
            return None
        return create_bidirectional_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=encoder_attention_mask,
            encoder_hidden_states=encoder_hidden_states,
        )


@dataclass
class ElectraPlusForReplacedTokenDetectionOutput(ModelOutput):
    """
    Output of [`ElectraPlusForReplacedTokenDetection`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, given with `labels`): Binary cross-entropy in nats per token.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): > 0 where the token looks replaced.
        hidden_states, attentions (`tuple[torch.FloatTensor]`, *optional*): Of every layer, on request.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class ElectraPlusForPreTrainingOutput(ModelOutput):
    """
    Output of [`ElectraPlusForPreTraining`]. All but `logits` need `labels`.

    Args:
        loss (`torch.FloatTensor` of shape `()`): Weighted sum of all losses.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Discriminator; > 0 where a token looks replaced.
        rtd_labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): 1 replaced, 0 original, -100 padding.
        generator_loss (`torch.FloatTensor` of shape `()`): Masked language modelling, nats per masked slot.
        discriminator_loss (`torch.FloatTensor` of shape `()`): Replaced token detection, nats per token.
        generator_accuracy (`torch.FloatTensor` of shape `()`): Fraction of masked slots whose likeliest token is right.
        hidden_states, attentions (`tuple[torch.FloatTensor]`, *optional*): Of the discriminator's layers, on request.
        objective_losses (`dict[str, torch.FloatTensor]`, *optional*):
            Of the further objectives in `config.objective_weights` whose weight is > 0, in nats, before weighting.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    rtd_labels: Tensor | None = None
    generator_loss: Tensor | None = None
    discriminator_loss: Tensor | None = None
    generator_accuracy: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    objective_losses: dict[str, Tensor] | None = None


__all__ = ["ElectraPlusModel", "ElectraPlusPreTrainedModel"]
