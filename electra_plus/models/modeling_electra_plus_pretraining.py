"""Generator and discriminator in one model, trained jointly."""

import copy
from typing import Literal, Unpack

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel
from transformers.utils import TransformersKwargs, logging
from transformers.utils.generic import can_return_tuple

from .configuration_electra_plus import ElectraPlusConfig
from .corruption_electra_plus import ElectraPlusCorruption, evaluating
from .embedding_sharing_electra_plus import (
    ElectraPlusEmbeddingDifferences,
    equal_embeddings,
    fold_before_saving,
    shared_embedding_keys,
    tables_with_a_difference,
)
from .further_objectives_electra_plus import CorruptedBatch, objective_heads, weights_in_use
from .modeling_electra_plus import ElectraPlusForPreTrainingOutput, ElectraPlusModel, ElectraPlusPreTrainedModel
from .modeling_electra_plus_discriminator import (
    ElectraPlusDiscriminatorPredictions,
    ElectraPlusForReplacedTokenDetection,
)
from .modeling_electra_plus_generator import ElectraPlusForMaskedLM
from .objectives_electra_plus import (
    labels_at_slots,
    masked_slots,
    replaced_token_detection_loss,
)
from .packing_electra_plus import default_positions, packed_document_ids

logger = logging.get_logger(__name__)

NETWORKS = ("both", "generator", "discriminator", "adversarial")  # what a step may train


class ElectraPlusForPreTraining(ElectraPlusCorruption, ElectraPlusPreTrainedModel):
    r"""
    Generator and discriminator trained together on masked text, in one checkpoint.

    With `labels` (what `DataCollatorForLanguageModeling` gives) the generator fills the masked slots, the discriminator
    looks for the tokens that changed, and `loss` is the weighted sum of both losses, and of those of the further objectives
    in `config.objective_weights`. Without `labels` it is a plain
    detector. Only masked slots meet the vocabulary, so a step costs a fraction of one with full logits.

    Source: Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2.

    Example:

    ```python
    >>> import torch
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForPreTraining
    >>> model = ElectraPlusForPreTraining(ElectraPlusConfig.preset("tiny", vocab_size=100))
    >>> masked = torch.tensor([[2, 4, 9, 3]])  # 4 is the mask token
    >>> outputs = model(masked, labels=torch.tensor([[-100, 7, -100, -100]]))
    >>> outputs.logits.shape, outputs.loss.shape
    (torch.Size([1, 4]), torch.Size([]))

    ```
    """

    # The discriminator's loss is a mean over all tokens, which `num_items_in_batch` (masked slots) does not count.
    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_unexpected = [
        r"position_ids$",
        r"^(bert\.|electra\.)?pooler\.",
        r"^cls\.seq_relationship\.",
    ]

    def __init__(self, config: ElectraPlusConfig):
        if config.generator_config is None:
            raise ValueError(
                "`generator_config` is None, but joint pretraining needs a generator. Use `ElectraPlusConfig.preset(...)`, "
                "give `generator_config`, or `ElectraPlusForPreTraining.from_generator_discriminator(...)`."
            )
        super().__init__(config)
        self.electra = ElectraPlusModel(config)
        self.discriminator_predictions = ElectraPlusDiscriminatorPredictions(config)
        self.objectives = objective_heads(config)
        self.generator = _generator_from_config(config.generator_config)
        config.generator_config = self.generator.config  # one object, so that a change of one reaches the other
        self.embedding_differences = None
        if config.embedding_sharing == "gdes":
            theirs, _ = tables_with_a_difference(self.generator, self.electra)
            self.embedding_differences = ElectraPlusEmbeddingDifferences(theirs)
            self.register_state_dict_pre_hook(fold_before_saving)
        self._tied_weights_keys = shared_embedding_keys(self)
        self.post_init()

    @classmethod
    def from_generator_discriminator(
        cls,
        generator: PreTrainedModel | str,
        discriminator: PreTrainedModel | str,
        embedding_sharing: str | None = None,
        **config_overrides,
    ) -> "ElectraPlusForPreTraining":
        r"""
        Join two models, for instance a BERT as generator and an ELECTRA discriminator, to train them on.

        Args:
            generator ([`PreTrainedModel`] or `str`): Any masked LM, or a folder or Hub name for `AutoModelForMaskedLM`.
            discriminator ([`PreTrainedModel`] or `str`):
                An ElectraPlus model, a stock ELECTRA model, or a folder or Hub name of either (or of a stock BERT).
            embedding_sharing (`str`, *optional*):
                `"all"`, `"word"`, `"gdes"` or `"none"`; the discriminator's tables are kept. `None` shares what is equal
                already: `"all"` if all tables are, else `"word"`, else `"none"`.
            config_overrides: Further fields of the joint configuration, such as `generator_temperature`.

        Raises:
            TypeError: The discriminator is of another model type.
            ValueError: Vocabularies differ, or tables to share have different shapes.
        """
        if isinstance(generator, str):
            generator = AutoModelForMaskedLM.from_pretrained(generator)
        detector = _as_detector(discriminator)
        if embedding_sharing is None:
            embedding_sharing = equal_embeddings(generator, detector)
            logger.info(f"`embedding_sharing` is {embedding_sharing!r}: what both models have equal.")
        # a detector has no heads of further objectives; new ones are made only on request
        fields = {**detector.config.to_dict(), "objective_weights": None, "architectures": [cls.__name__]}
        fields.update(config_overrides)
        fields.pop("model_type")
        fields.update(generator_config=generator.config.to_dict(), embedding_sharing=embedding_sharing)
        joint = cls(ElectraPlusConfig(**fields))
        joint.electra.load_state_dict(detector.electra.state_dict())
        joint.discriminator_predictions.load_state_dict(detector.discriminator_predictions.state_dict())
        joint.generator.load_state_dict(generator.state_dict())
        # shared tables were overwritten by the generator's values a line above: the discriminator's count
        joint.electra.load_state_dict(detector.electra.state_dict())
        joint.tie_weights()
        if joint.embedding_differences is not None:
            joint.embedding_differences.set_from(*tables_with_a_difference(joint.generator, joint.electra))
        return joint

    @property
    def discriminator(self) -> ElectraPlusForReplacedTokenDetection:
        """The discriminator as a model of its own, with the same parameters (not a copy), for `save_pretrained`."""
        self.fold_embeddings()
        config = copy.deepcopy(self.config)
        config.generator_config = config.objective_weights = None
        with torch.device("meta"):
            detector = ElectraPlusForReplacedTokenDetection(config)
        detector.electra = self.electra
        detector.discriminator_predictions = self.discriminator_predictions
        return detector.train(self.training)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.electra.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding):
        self.electra.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module | None:
        return self.generator.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module):
        self.generator.set_output_embeddings(new_embeddings)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args, **kwargs) -> nn.Embedding:
        """Resize the tables of both networks; arguments as in [`PreTrainedModel.resize_token_embeddings`]."""
        if new_num_tokens is None and not args and kwargs.get("pad_to_multiple_of") is None:
            return self.get_input_embeddings()
        self.generator.resize_token_embeddings(new_num_tokens, *args, **kwargs)
        # the output layer belongs to the generator and has its new size already
        self.electra.resize_token_embeddings(new_num_tokens, *args, **kwargs)
        self.config.vocab_size = self.electra.config.vocab_size = self.get_input_embeddings().num_embeddings
        self.vocab_size = self.config.vocab_size
        self.config.generator_config = self.generator.config
        self.tie_weights()
        if self.embedding_differences is not None:
            self.embedding_differences.resize_words(self.config.vocab_size)
            self.fold_embeddings()
        return self.get_input_embeddings()

    def tie_weights(self, *args, **kwargs):
        """Tie what is shared, as [`PreTrainedModel.tie_weights`], which runs after building and loading a model."""
        super().tie_weights(*args, **kwargs)
        if getattr(self, "embedding_differences", None) is not None:
            for table in tables_with_a_difference(self.generator, self.electra)[1].values():
                table.weight.requires_grad_(False)  # a sum of parameters, none itself

    def fold_embeddings(self) -> None:
        """With gradient-disentangled sharing, set the discriminator's tables to the generator's plus the differences."""
        if self.embedding_differences is not None:
            self.embedding_differences.fold(*tables_with_a_difference(self.generator, self.electra))

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
        networks: Literal["both", "generator", "discriminator", "adversarial"] = "both",
        generator_temperature: float | None = None,
        adversarial_weight: float = 1.0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ElectraPlusForPreTrainingOutput:
        r"""
        Corrupt masked text and detect the corruption, or detect it in the text given; see [`ElectraPlusModel.forward`].

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): With `labels`, text with mask tokens.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Word vectors instead of ids, for detection only: corruption needs ids.
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Original ids at the slots the generator must fill, -100 elsewhere.
            num_masked_slots (`int`, *optional*):
                At least as many slots as the batch has masked. With it no step waits for the device to count them, and
                `torch.compile` sees one shape; the numbers are the same.
            networks (`str`, *optional*, defaults to `"both"`):
                With `labels`, what `loss` trains: `"both"`; the `"generator"` alone (the discriminator does not run); the
                `"discriminator"` alone (the generator draws without dropout and without gradient); or `"adversarial"`: both, and
                the generator also against the discriminator, through the tokens drawn. Further objectives are the
                discriminator's, and those the adversarial generator works against too.
            generator_temperature (`float`, *optional*): Instead of `config.generator_temperature`.
            adversarial_weight (`float`, *optional*, defaults to 1.0):
                Of the discriminator's gradient, reversed, that reaches the generator with `networks="adversarial"`.

        Returns:
            [`ElectraPlusForPreTrainingOutput`]
        """
        if networks not in NETWORKS:
            raise ValueError(f"`networks` must be one of {list(NETWORKS)}, got {networks!r}.")
        if document_ids is None:
            document_ids = packed_document_ids(position_ids, attention_mask, kwargs.get("cu_seq_lens_q"))
        encoder_inputs = {
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "document_ids": document_ids,
        }
        joint, drawn, slot_logits = {}, None, None
        weights = weights_in_use(self.objectives, self.config)
        if labels is not None:
            if input_ids is None:
                raise ValueError("`labels` need `input_ids`, got `inputs_embeds`: the generator replaces token ids.")
            how = {"num_masked_slots": num_masked_slots, "temperature": generator_temperature, **encoder_inputs}
            how["keep_slot_logits"] = any(self.objectives[name].needs_slot_logits for name in weights)
            if networks == "generator":
                joint = self.generator_figures(input_ids, labels, num_masked_slots, **encoder_inputs)
                joint["loss"] = self.config.generator_loss_weight * joint["generator_loss"]
                return ElectraPlusForPreTrainingOutput(**joint)
            if networks == "discriminator":
                with torch.no_grad(), evaluating(self.generator):
                    input_ids, joint = self.corrupt(input_ids, labels, **how)
            elif networks == "adversarial":
                input_ids, joint, drawn = self.corrupt(input_ids, labels, reversed_by=adversarial_weight, **how)
            else:
                input_ids, joint = self.corrupt(input_ids, labels, **how)
            slot_logits = joint.pop("slot_logits", None)
        corrupted_ids = input_ids
        if drawn is not None:
            inputs_embeds = self._vectors_of_draws(input_ids, labels, drawn, position_ids, document_ids)
            input_ids = None
        elif self.embedding_differences is not None and input_ids is not None:
            input_ids, inputs_embeds = None, self._disentangled_embeddings(input_ids, position_ids, document_ids)
        outputs = self.electra(input_ids, inputs_embeds=inputs_embeds, **encoder_inputs, **kwargs)
        logits = self.discriminator_predictions(outputs.last_hidden_state)
        if joint:
            joint["discriminator_loss"] = replaced_token_detection_loss(logits, joint["rtd_labels"])
            joint["loss"] = self.config.discriminator_loss_weight * joint["discriminator_loss"]
            if networks != "discriminator":
                joint["loss"] = self.config.generator_loss_weight * joint["generator_loss"] + joint["loss"]
        if joint and weights:
            slots = masked_slots(labels, num_masked_slots)
            batch = CorruptedBatch(
                states=outputs.last_hidden_state,
                detection_logits=logits,
                corrupted_ids=corrupted_ids,
                original_ids=torch.where(labels != -100, labels, corrupted_ids),
                slots=slots,
                slot_ids=labels_at_slots(labels, slots),
                slot_logits=slot_logits,
                word_table=self._word_table(),
                encode=self._encode_another,
                attention_mask=attention_mask,
                token_type_ids=token_type_ids,
                document_ids=document_ids,
            )
            joint["objective_losses"] = {name: self.objectives[name].loss(batch) for name in weights}
            for name, weight in weights.items():
                joint["loss"] = joint["loss"] + weight * joint["objective_losses"][name]
        return ElectraPlusForPreTrainingOutput(
            logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions, **joint
        )

    def _word_table(self) -> Tensor:
        """Return the discriminator's word embeddings as an output layer, with a way for their gradient to what trains them."""
        table = self.get_input_embeddings().weight
        if self.embedding_differences is None:
            return table
        difference = self.embedding_differences.word_embeddings
        return table + (difference - difference.detach())

    def _encode_another(self, input_ids: Tensor, document_ids: Tensor | None = None, **encoder_inputs) -> Tensor:
        """Return the discriminator's states of other text than it detects in, after the forward that folds embeddings."""
        inputs_embeds = None
        if self.embedding_differences is not None:
            # not folded again: a table that changes in place would spoil the first forward's gradient
            inputs_embeds = self._embeddings_with_differences(input_ids, None, document_ids)
            input_ids = None
        outputs = self.electra(input_ids, inputs_embeds=inputs_embeds, document_ids=document_ids, **encoder_inputs)
        return outputs.last_hidden_state

    def _vectors_of_draws(self, input_ids: Tensor, labels: Tensor, drawn: Tensor, position_ids, document_ids) -> Tensor:
        """Return the discriminator's word vectors, with a way for their gradient to the draws in the masked slots."""
        if self.embedding_differences is not None:
            vectors = self._disentangled_embeddings(input_ids, position_ids, document_ids)
        else:
            vectors = self.get_input_embeddings()(input_ids)
        of_slots = drawn @ self.get_input_embeddings().weight.detach().to(drawn.dtype)  # (num_masked, embedding_size)
        path = (of_slots - of_slots.detach()).to(vectors.dtype)
        # what stands behind the last masked slot is left, as in `corrupt`
        masked = (labels != -100)[..., None].expand_as(vectors)
        return vectors + torch.zeros_like(vectors).masked_scatter(masked, path)

    def _disentangled_embeddings(self, input_ids: Tensor, position_ids, document_ids) -> Tensor:
        """Return the discriminator's word vectors, with a way for its gradient to the differences, and to no other table."""
        self.fold_embeddings()
        return self._embeddings_with_differences(input_ids, position_ids, document_ids)

    def _embeddings_with_differences(self, input_ids: Tensor, position_ids, document_ids) -> Tensor:
        vectors = self.get_input_embeddings()(input_ids)
        if not torch.is_grad_enabled():
            return vectors
        if position_ids is None:
            position_ids = default_positions(input_ids, document_ids)
        path = self.embedding_differences.gradient_path(word_embeddings=input_ids, position_embeddings=position_ids)
        return vectors + path


def _generator_from_config(config) -> PreTrainedModel:
    # works before registration too, as remote code must, which transformers may load as two modules of one name
    if config.model_type == ElectraPlusConfig.model_type:
        return ElectraPlusForMaskedLM(config)
    return AutoModelForMaskedLM.from_config(config)


def _as_detector(discriminator: PreTrainedModel | str) -> ElectraPlusForReplacedTokenDetection:
    if isinstance(discriminator, str):
        return ElectraPlusForReplacedTokenDetection.from_pretrained(discriminator)
    if isinstance(discriminator, ElectraPlusForReplacedTokenDetection):
        return discriminator
    model_type = discriminator.config.model_type
    if model_type == "electra":
        config = ElectraPlusConfig.from_stock(discriminator.config)
    elif isinstance(discriminator, ElectraPlusPreTrainedModel):
        config = discriminator.config
    else:
        raise TypeError(
            f"`discriminator` must be an ElectraPlus or a stock ELECTRA model, got model type {model_type!r}. "
            "A folder of a stock BERT can be given by its path."
        )
    detector = ElectraPlusForReplacedTokenDetection(config)
    detector.electra.load_state_dict(discriminator.base_model.state_dict())
    head = getattr(discriminator, "discriminator_predictions", None)
    if head is not None:
        detector.discriminator_predictions.load_state_dict(head.state_dict())
    else:
        logger.warning(
            "`discriminator_predictions` is newly initialised: the discriminator given is "
            f"{type(discriminator).__name__}, which has no such head. Train it before use."
        )
    return detector


__all__ = ["ElectraPlusForPreTraining"]
