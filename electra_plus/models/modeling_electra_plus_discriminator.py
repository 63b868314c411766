"""The discriminator: replaced token detection."""

from typing import Unpack

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_electra_plus import ElectraPlusConfig
from .modeling_electra_plus import (
    ElectraPlusForReplacedTokenDetectionOutput,
    ElectraPlusModel,
    ElectraPlusPreTrainedModel,
)
from .objectives_electra_plus import replaced_token_detection_loss


class ElectraPlusDiscriminatorPredictions(nn.Module):
    """Head of the discriminator: one logit a token."""

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dense_prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.dense_prediction(self.activation(self.dense(hidden_states))).squeeze(-1)


class ElectraPlusForReplacedTokenDetection(ElectraPlusPreTrainedModel):
    r"""
    The discriminator alone: says for each token whether it was replaced (stock `ElectraForPreTraining`).

    Example:

    ```python
    >>> import torch
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForReplacedTokenDetection
    >>> model = ElectraPlusForReplacedTokenDetection(ElectraPlusConfig.preset("tiny", vocab_size=100))
    >>> model(torch.tensor([[2, 7, 9, 3]])).logits.shape
    torch.Size([1, 4])

    ```
    """

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.electra = ElectraPlusModel(config)
        self.discriminator_predictions = ElectraPlusDiscriminatorPredictions(config)
        self.post_init()

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
        **kwargs: Unpack[TransformersKwargs],
    ) -> ElectraPlusForReplacedTokenDetectionOutput:
        r"""
        Score every token of a batch; arguments as in [`ElectraPlusModel.forward`].

        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 = replaced, 0 = original, -100 ignored. Padding is ignored too.
        """
        outputs = self.electra(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            document_ids=document_ids,
            **kwargs,
        )
        logits = self.discriminator_predictions(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            if attention_mask is not None and attention_mask.dim() == 2:
                labels = labels.masked_fill(attention_mask == 0, -100)
            loss = replaced_token_detection_loss(logits, labels)
        return ElectraPlusForReplacedTokenDetectionOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


__all__ = ["ElectraPlusForReplacedTokenDetection"]
