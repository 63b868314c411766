"""How the generator of a joint model fills masked slots."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .masked_slots_electra_plus import masked_slot_figures
from .modeling_electra_plus_generator import ElectraPlusForMaskedLM
from .objectives_electra_plus import (
    at_slots,
    draw_with_gradient,
    labels_at_slots,
    masked_lm_loss,
    masked_slots,
    replaced_token_labels,
    sample_replacements,
)
from .packing_electra_plus import default_positions, packed_attention_mask


class ElectraPlusCorruption:
    """What [`ElectraPlusForPreTraining`] does with its `generator` and `config`."""

    def generator_figures(
        self, input_ids: Tensor, labels: Tensor, num_masked_slots: int | None = None, **encoder_inputs
    ) -> dict[str, Tensor]:
        """Return `generator_loss` and `generator_accuracy`; arguments as in [`ElectraPlusForPreTraining.corrupt`]."""
        return self._fill(input_ids, masked_slots(labels, num_masked_slots), labels, None, **encoder_inputs)[1]

    def corrupt(
        self,
        input_ids: Tensor,
        labels: Tensor,
        num_masked_slots: int | None = None,
        temperature: float | None = None,
        reversed_by: float | None = None,
        keep_slot_logits: bool = False,
        **encoder_inputs,
    ) -> tuple[Tensor, dict[str, Tensor]] | tuple[Tensor, dict[str, Tensor], Tensor]:
        r"""
        Fill the masked slots with tokens drawn from the generator.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Text with mask tokens.
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Original ids at masked slots, else -100.
            num_masked_slots (`int`, *optional*): As in `forward`.
            temperature (`float`, *optional*): Instead of `config.generator_temperature`.
            reversed_by (`float`, *optional*): Draw with a reversed gradient of this weight, see [`draw_with_gradient`].
            keep_slot_logits (`bool`, *optional*, defaults to `False`): Return the generator's scores too, `(num_masked, vocab_size)`.
            encoder_inputs: `attention_mask`, `token_type_ids`, `position_ids`, `document_ids`.

        Returns:
            `tuple`: the corrupted ids `(batch_size, sequence_length)`, and `generator_loss`, `generator_accuracy`,
            `rtd_labels` (and `slot_logits`, detached) by name; with `reversed_by` also the draws `(num_masked, vocab_size)`, one-hot.
        """
        slots = masked_slots(labels, num_masked_slots)
        if reversed_by is None:
            drawn_ids, figures = self._fill(input_ids, slots, labels, temperature, keep_slot_logits, **encoder_inputs)
        else:
            original_ids = labels_at_slots(labels, slots)  # (num_masked,)
            slot_logits = self.masked_slot_logits(input_ids, slots, **encoder_inputs)  # (num_masked, vocab_size)
            temperature = self.config.generator_temperature if temperature is None else temperature
            forbidden_ids = original_ids.clamp(min=0) if self.config.disallow_correct else None
            draws = draw_with_gradient(slot_logits, temperature, forbidden_ids, reversed_by)
            drawn_ids, figures = draws.argmax(dim=-1), _generator_figures(slot_logits, original_ids)
            if keep_slot_logits:
                figures["slot_logits"] = slot_logits.detach()
        masked = labels != -100
        corrupted_ids = input_ids.masked_scatter(masked, drawn_ids)  # what is drawn for no slot comes last, and is left
        uncorrupted_ids = torch.where(masked, labels, input_ids)
        padding = encoder_inputs.get("attention_mask")
        if encoder_inputs.get("document_ids") is not None:
            padding = encoder_inputs["document_ids"] >= 0
        elif padding is not None and padding.dim() != 2:
            padding = None
        rtd_labels = replaced_token_labels(corrupted_ids, uncorrupted_ids, padding)
        figures["rtd_labels"] = rtd_labels
        return (corrupted_ids, figures) if reversed_by is None else (corrupted_ids, figures, draws)

    def _fill(
        self,
        input_ids: Tensor,
        slots: Tensor,
        labels: Tensor,
        temperature: float | None,
        keep_slot_logits: bool = False,
        **encoder_inputs,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the generator draws for the slots, `(num_masked,)`, and its loss and accuracy by name."""
        original_ids = labels_at_slots(labels, slots)
        temperature = self.config.generator_temperature if temperature is None else temperature
        part_by_part = not keep_slot_logits and not torch.compiler.is_compiling()
        if part_by_part and isinstance(self.generator, ElectraPlusForMaskedLM):
            states, head = (
                self._masked_slot_states(input_ids, slots, **encoder_inputs),
                self.generator.generator_lm_head,
            )
            loss, drawn_ids, accuracy = masked_slot_figures(
                states, head.weight, head.bias, original_ids, temperature, self.config.disallow_correct
            )
            return drawn_ids, {"generator_loss": loss, "generator_accuracy": accuracy}
        slot_logits = self.masked_slot_logits(input_ids, slots, **encoder_inputs)  # (num_masked, vocab_size)
        forbidden_ids = original_ids.clamp(min=0) if self.config.disallow_correct else None
        drawn_ids = sample_replacements(slot_logits, temperature, forbidden_ids)
        figures = _generator_figures(slot_logits, original_ids)
        if keep_slot_logits:
            figures["slot_logits"] = slot_logits.detach()
        return drawn_ids, figures

    def _masked_slot_states(self, input_ids: Tensor, slots: Tensor, **encoder_inputs) -> Tensor:
        """Return what our own generator's table is multiplied with, `(num_masked, embedding_size)`."""
        generator = self.generator
        states, _ = generator.electra.states_at_slots(input_ids, slots, **encoder_inputs)
        return generator.generator_predictions(states)

    def masked_slot_logits(self, input_ids: Tensor, slots: Tensor, **encoder_inputs) -> Tensor:
        r"""
        Return the generator's scores at the masked slots only.

        A full `(batch_size, sequence_length, vocab_size)` tensor is never made: the states of masked slots are gathered
        before the generator's head.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Text with mask tokens.
            slots (`torch.LongTensor` of shape `(num_masked,)`): Places in the flattened batch.

        Returns:
            `torch.FloatTensor` of shape `(num_masked, vocab_size)`
        """
        generator = self.generator
        if isinstance(generator, ElectraPlusForMaskedLM):
            return generator.generator_lm_head(self._masked_slot_states(input_ids, slots, **encoder_inputs))

        known = {name: value for name, value in encoder_inputs.items() if value is not None}
        document_ids = known.pop("document_ids", None)
        if document_ids is not None:
            known.setdefault("position_ids", default_positions(input_ids, document_ids))
            known["attention_mask"] = packed_attention_mask(document_ids, generator.dtype)
        return logits_at_slots(generator, input_ids, slots, **known)


def logits_at_slots(masked_lm: nn.Module, input_ids: Tensor, slots: Tensor, **inputs) -> Tensor:
    r"""
    Return a masked LM's scores of the vocabulary at some slots only.

    Its own forward runs, but its head is handed the states of these slots: heads work on each position alone, so a row of
    `num_slots` positions is as good as the original rows, and a full `(batch_size, sequence_length, vocab_size)` tensor is
    never made.

    Args:
        masked_lm ([`PreTrainedModel`]): Any masked LM whose encoder is its `base_model`.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Text with mask tokens.
        slots (`torch.LongTensor` of shape `(num_slots,)`): Places in the flattened batch.
        inputs: `attention_mask` and further arguments of the model.

    Returns:
        `torch.FloatTensor` of shape `(num_slots, vocab_size)`
    """

    def gather(module, arguments, outputs):
        outputs.last_hidden_state = at_slots(outputs.last_hidden_state, slots)[None]
        return outputs

    hook = masked_lm.base_model.register_forward_hook(gather)
    try:
        return masked_lm(input_ids, return_dict=True, **inputs).logits[0]
    finally:
        hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _generator_figures(slot_logits: Tensor, original_ids: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        num_masked = (original_ids != -100).sum().clamp(min=1)
        correct = (slot_logits.argmax(dim=-1) == original_ids).float().sum() / num_masked
    return {"generator_loss": masked_lm_loss(slot_logits, original_ids), "generator_accuracy": correct}
