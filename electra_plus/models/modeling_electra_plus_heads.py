"""Task heads on the encoder: sequence and token classification, extractive question answering, multiple choice."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple

from .configuration_electra_plus import ElectraPlusConfig
from .modeling_electra_plus import ElectraPlusModel, ElectraPlusPreTrainedModel
from .packing_electra_plus import first_slots, packed_document_ids, unpack_documents


def _head_dropout(config: ElectraPlusConfig) -> nn.Dropout:
    rate = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if rate is None else rate)


def pool_first(hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Return the state of the first token (`[CLS]`), of shape `(batch_size, hidden_size)`."""
    return hidden_states[:, 0]


def pool_mean(hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Return the mean state over attended tokens, of shape `(batch_size, hidden_size)`."""
    if attention_mask is None or attention_mask.dim() != 2:
        return hidden_states.mean(dim=1)
    weights = attention_mask.to(hidden_states.dtype)[..., None]
    return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def pool_last(hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Return the state of the last attended token; without a mask of the last slot, padding or not, as stock does."""
    if attention_mask is None:
        return hidden_states[:, -1]
    last = attention_mask.sum(dim=1) - 1
    return hidden_states[torch.arange(len(last), device=last.device), last]


def encode_for_pooling(
    encoder: ElectraPlusModel,
    pool: Callable[[Tensor, Tensor | None], Tensor],
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    document_ids: Tensor | None,
    **inputs,
) -> tuple[Tensor, Tensor | None, BaseModelOutputWithPastAndCrossAttentions]:
    r"""
    Encode texts of which one vector each is wanted.

    Args:
        encoder ([`ElectraPlusModel`]): Takes the other arguments.
        pool (`Callable`): What will be called with the states and their mask. For [`pool_first`] others are left out.
        input_ids, attention_mask, document_ids, inputs: As in [`ElectraPlusModel.forward`].

    Returns:
        `tuple`: states `(num_texts, length, hidden_size)`, a text a row; their mask, if any; and what the encoder returned.
    """
    inputs.update(attention_mask=attention_mask, document_ids=document_ids)
    if pool is not pool_first or input_ids is None:
        outputs = encoder(input_ids, **inputs)
        if document_ids is None:
            return outputs.last_hidden_state, attention_mask, outputs
        return *unpack_documents(outputs.last_hidden_state, document_ids), outputs
    if document_ids is None:
        slots = torch.arange(input_ids.shape[0], device=input_ids.device) * input_ids.shape[1]
    else:
        slots = first_slots(document_ids)
    states, outputs = encoder.states_at_slots(input_ids, slots, **inputs)
    if document_ids is not None:
        states = states[document_ids.flatten()[slots].argsort()]
    return states[:, None], None, outputs


class ElectraPlusClassificationHead(nn.Module):
    """Dense layer with activation and dropout, then the labels."""

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.pool = {"cls": pool_first, "mean": pool_mean}[config.classifier_pooling]
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.classifier_activation]
        self.dropout = _head_dropout(config)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        pooled = self.dropout(self.pool(hidden_states, attention_mask))
        return self.out_proj(self.dropout(self.activation(self.dense(pooled))))  # (batch_size, num_labels)


class ElectraPlusForSequenceClassification(ElectraPlusPreTrainedModel):
    r"""
    One label, several labels or a number for a row of tokens, by `config.problem_type`.

    Example:

    ```python
    >>> import torch
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForSequenceClassification
    >>> model = ElectraPlusForSequenceClassification(ElectraPlusConfig.preset("tiny", vocab_size=100, num_labels=3))
    >>> model(torch.tensor([[2, 7, 9, 3]])).logits.shape
    torch.Size([1, 3])

    ```
    """

    # regression and multi-label losses are means and do not use `num_items_in_batch`
    accepts_loss_kwargs = False

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.electra = ElectraPlusModel(config)
        self.classifier = ElectraPlusClassificationHead(config)
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
    ) -> SequenceClassifierOutput:
        r"""
        Classify each row, or each document of packed rows; arguments as in [`ElectraPlusModel.forward`].

        Args:
            labels (`torch.Tensor` of shape `(batch_size,)` or `(batch_size, num_labels)`, *optional*):
                Class ids, one 0/1 float for each label, or target numbers, by `config.problem_type`. For packed rows one
                for each document, as are the logits, in the order of the documents' numbers.
        """
        if document_ids is None:
            document_ids = packed_document_ids(position_ids, attention_mask, kwargs.get("cu_seq_lens_q"))
        states, attention_mask, outputs = encode_for_pooling(
            self.electra,
            self.classifier.pool,
            input_ids,
            attention_mask,
            document_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        logits = self.classifier(states, attention_mask)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class ElectraPlusForTokenClassification(ElectraPlusPreTrainedModel):
    """One label for each token, as in named entity recognition."""

    accepts_loss_kwargs = True

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.electra = ElectraPlusModel(config)
        self.dropout = _head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
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
    ) -> TokenClassifierOutput:
        r"""
        Classify each token; arguments as in [`ElectraPlusModel.forward`].

        Args:
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): Class ids, -100 ignored.
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
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, config=self.config, **kwargs)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class ElectraPlusForQuestionAnswering(ElectraPlusPreTrainedModel):
    """Start and end of the answer in a row that holds question and passage."""

    # the loss is a mean over rows, which `num_items_in_batch` does not count
    accepts_loss_kwargs = False

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.electra = ElectraPlusModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> QuestionAnsweringModelOutput:
        r"""
        Score every token as start and as end of the answer; arguments as in [`ElectraPlusModel.forward`].

        Of packed rows each document is a row of the logits, in the order of their numbers, with the lowest number for padding.

        Args:
            start_positions, end_positions (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
                Token index of the answer's first and last token, of packed rows within the document; an index beyond the row
                is ignored in the loss.
        """
        if document_ids is None:
            document_ids = packed_document_ids(position_ids, attention_mask, kwargs.get("cu_seq_lens_q"))
        outputs = self.electra(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            document_ids=document_ids,
            **kwargs,
        )
        logits = self.qa_outputs(outputs.last_hidden_state)
        if document_ids is not None:
            logits, mask = unpack_documents(logits, document_ids)
            logits = logits.masked_fill(mask[..., None] == 0, torch.finfo(logits.dtype).min)
        start_logits, end_logits = logits.unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions)
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits.contiguous(),
            end_logits=end_logits.contiguous(),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class ElectraPlusSequenceSummary(nn.Module):
    """Vector for a row, as stock ELECTRA's multiple choice head makes it."""

    def __init__(self, config: ElectraPlusConfig):
        super().__init__()
        self.pool = {"first": pool_first, "mean": pool_mean, "last": pool_last}[config.summary_type]
        self.summary = nn.Linear(config.hidden_size, config.hidden_size) if config.summary_use_proj else nn.Identity()
        self.activation = ACT2FN[config.summary_activation] if config.summary_activation else nn.Identity()
        self.last_dropout = nn.Dropout(config.summary_last_dropout)

    def forward(self, hidden_states: Tensor, mask: Tensor | None) -> Tensor:
        return self.last_dropout(self.activation(self.summary(self.pool(hidden_states, mask))))


class ElectraPlusForMultipleChoice(ElectraPlusPreTrainedModel):
    """The best of several candidate rows, as in commonsense questions with given answers."""

    # the loss is a mean over questions, which `num_items_in_batch` does not count
    accepts_loss_kwargs = False

    def __init__(self, config: ElectraPlusConfig):
        super().__init__(config)
        self.electra = ElectraPlusModel(config)
        self.sequence_summary = ElectraPlusSequenceSummary(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
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
        num_choices: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MultipleChoiceModelOutput:
        r"""
        Score the choices of each question. Arguments as in [`ElectraPlusModel.forward`], each with a dimension more, or
        packed rows without it, in which every document is a choice.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, num_choices, sequence_length)`, *optional*)
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, num_choices, sequence_length, embedding_size)`, *optional*)
            labels (`torch.LongTensor` of shape `(batch_size,)`, *optional*): Index of the right choice.
            document_ids (`torch.LongTensor` of shape `(num_rows, sequence_length)`, *optional*):
                For packed rows `(num_rows, sequence_length)`: the choice of each token, -1 for padding.
            num_choices (`int`, *optional*): For packed rows: how many documents, in a row, are the choices of one question.

        Raises:
            ValueError: Packed rows without `num_choices`, or with documents that it does not divide.
        """
        rows = [input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds]
        if document_ids is None:
            num_choices = (input_ids if inputs_embeds is None else inputs_embeds).shape[1]
            # (batch_size, num_choices, ...) -> (batch_size * num_choices, ...)
            rows = [None if tensor is None else tensor.flatten(0, 1) for tensor in rows]
        states, mask, outputs = encode_for_pooling(
            self.electra,
            self.sequence_summary.pool,
            rows[0],
            rows[1],
            document_ids,
            token_type_ids=rows[2],
            position_ids=rows[3],
            inputs_embeds=rows[4],
            **kwargs,
        )
        if document_ids is None:
            mask = None  # as stock, which pools padding too
        elif not num_choices or len(states) % num_choices:
            raise ValueError(
                f"`num_choices` must divide the documents of packed rows, got {num_choices} for {len(states)} documents."
            )
        logits = self.classifier(self.sequence_summary(states, mask)).view(-1, num_choices)
        loss = F.cross_entropy(logits.float(), labels) if labels is not None else None
        return MultipleChoiceModelOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


__all__ = [
    "ElectraPlusForMultipleChoice",
    "ElectraPlusForQuestionAnswering",
    "ElectraPlusForSequenceClassification",
    "ElectraPlusForTokenClassification",
]
