"""The generator: masked language modelling."""

from typing import Unpack

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_electra_plus import ElectraPlusConfig
from .layers_electra_plus import make_norm
from .modeling_electra_plus import ElectraPlusModel, ElectraPlusPreTrainedModel
from .objectives_electra_plus import labels_at_slots, masked_slots


class ElectraPlusGeneratorPredictions(nn.Module):
    """Head of the generator before the vocabulary: back to `embedding_size`, so that the tied table can score tokens."""

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.activation = ACT2FN["gelu"]
        self.LayerNorm = make_norm(config, config.embedding_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


class ElectraPlusForMaskedLM(ElectraPlusPreTrainedModel):
    r"""
    The generator alone: predicts masked tokens.

    From the folder of a joint checkpoint, `from_pretrained` returns that checkpoint's generator, whatever its model type.
    """

    accepts_loss_kwargs = True
    _tied_weights_keys = {"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"}
    _keys_to_ignore_on_load_unexpected = [
        r"^discriminator_predictions\.",
        r"^objectives\.",
        r"^(bert\.|electra\.)?pooler\.",
        r"^cls\.seq_relationship\.",
        r"position_ids$",
    ]

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.electra = ElectraPlusModel(config)
        self.generator_predictions = ElectraPlusGeneratorPredictions(config)
        self.generator_lm_head = nn.Linear(config.embedding_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.generator_lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear):
        self.generator_lm_head = new_embeddings

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """Load a masked LM, or the generator out of a joint checkpoint; see [`PreTrainedModel.from_pretrained`]."""
        config = kwargs.get("config")
        if config is None and pretrained_model_name_or_path is not None:
            config = ElectraPlusConfig.from_pretrained(pretrained_model_name_or_path, **_hub_arguments(kwargs))
        # by its name, not its class: of a local folder's code, transformers makes a copy for each file it starts from
        is_ours = getattr(config, "model_type", None) == ElectraPlusConfig.model_type
        if is_ours and "ElectraPlusForPreTraining" in (config.architectures or []):
            from .modeling_electra_plus_pretraining import ElectraPlusForPreTraining  # which imports this file

            loaded = ElectraPlusForPreTraining.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
            if isinstance(loaded, tuple):  # output_loading_info=True
                return loaded[0].generator, *loaded[1:]
            return loaded.generator
        return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        document_ids: Tensor | None = None,
        num_masked_slots: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        r"""
        Score every token of the vocabulary in every slot; arguments as in [`ElectraPlusModel.forward`].

        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Original ids at masked slots, -100 elsewhere.
            num_masked_slots (`int`, *optional*):
                With `config.sparse_prediction`: at least as many slots as the batch has masked, as in
                [`ElectraPlusForPreTraining.forward`].

        Returns:
            [`~transformers.modeling_outputs.MaskedLMOutput`]: `logits` of shape
            `(batch_size, sequence_length, vocab_size)`; with labels and `config.sparse_prediction` of shape
            `(num_masked, vocab_size)`, the labelled slots row after row (`num_masked_slots` of them if that is given, the last
            without meaning). The loss is the same.
        """
        inputs = {
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
            "document_ids": document_ids,
            **kwargs,
        }
        if labels is not None and self.config.sparse_prediction:
            slots = masked_slots(labels, num_masked_slots)
            states, outputs = self.electra.states_at_slots(input_ids, slots, **inputs)
            labels = labels_at_slots(labels, slots)
        else:
            outputs = self.electra(input_ids, **inputs)
            states = outputs.last_hidden_state
        logits = self.generator_lm_head(self.generator_predictions(states))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def _hub_arguments(kwargs: dict) -> dict:
    names = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
    return {name: kwargs[name] for name in names if kwargs.get(name) is not None}


__all__ = ["ElectraPlusForMaskedLM"]
