"""Next-word prediction: a causal language model, or the decoder half of an encoder-decoder."""

from typing import Unpack

from torch import Tensor, nn
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions
from transformers.utils import TransformersKwargs, logging
from transformers.utils.generic import can_return_tuple

from .configuration_electra_plus import ElectraPlusConfig
from .modeling_electra_plus import ElectraPlusModel, ElectraPlusPreTrainedModel
from .modeling_electra_plus_generator import ElectraPlusGeneratorPredictions

logger = logging.get_logger(__name__)


class ElectraPlusForCausalLM(ElectraPlusPreTrainedModel, GenerationMixin):
    r"""
    Predicts the next token from those before it. The same names as the generator, so one checkpoint warm-starts the other.

    Needs `config.is_decoder=True`; with `config.add_cross_attention=True` it also reads an encoder's states.

    Example:

    ```python
    >>> import torch
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForCausalLM
    >>> config = ElectraPlusConfig.preset("modern-tiny", vocab_size=100, is_decoder=True, generator_config=None)
    >>> ElectraPlusForCausalLM(config).generate(torch.tensor([[2, 7]]), max_new_tokens=3, do_sample=False).shape
    torch.Size([1, 5])

    ```
    """

    accepts_loss_kwargs = True
    _tied_weights_keys = {"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"}
    _keys_to_ignore_on_load_unexpected = [
        r"^generator\.",
        r"^embedding_differences\.",
        r"^objectives\.",
        r"^discriminator_predictions\.",
        r"^(bert\.|electra\.)?pooler\.",
        r"^cls\.seq_relationship\.",
        r"position_ids$",
    ]

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        if not config.is_decoder:
            logger.warning(
                "`ElectraPlusForCausalLM` without `is_decoder=True` sees the words it should predict. "
                "Set `is_decoder=True` in the config."
            )
        self.electra = ElectraPlusModel(config)
        self.generator_predictions = ElectraPlusGeneratorPredictions(config)
        self.generator_lm_head = nn.Linear(config.embedding_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.generator_lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear):
        self.generator_lm_head = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        document_ids: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithCrossAttentions:
        r"""
        Score the next token after every token; arguments as in [`ElectraPlusModel.forward`].

        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                `input_ids` again (shifted inside), -100 where no loss is wanted.
            logits_to_keep (`int` or `torch.LongTensor`, *optional*, defaults to 0):
                Score only the last so many tokens, or those indices. 0 scores all.
        """
        outputs = self.electra(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
            use_cache=False if labels is not None else use_cache,
            document_ids=document_ids,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.generator_lm_head(self.generator_predictions(outputs.last_hidden_state[:, kept]))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithCrossAttentions(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
        )


__all__ = ["ElectraPlusForCausalLM"]
