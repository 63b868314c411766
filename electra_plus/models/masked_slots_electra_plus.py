"""
The generator's head over the vocabulary: loss, draws and gradient of the masked slots, a few slots at a time.

The scores of all slots over the vocabulary are the largest tensor of a pretraining step, and softmax, loss, draw and gradient
each want one of that size. The gradient of the loss is known as soon as the scores are, so a part of the slots is scored, drawn
and differentiated while its scores are in the cache, and then forgotten. Values are those of the plain functions in
`objectives_electra_plus.py`.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .objectives_electra_plus import draw_from_probabilities
from .short_attention_electra_plus import compute_dtype

SCORES_AT_ONCE = {
    "cpu": 4_000_000,
    "other": 64_000_000,
}  # numbers; a processor's caches are small, a device is idle on few


class _MaskedSlots(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states, weight, bias, original_ids, temperature, forbid_original, needs_gradient):
        num_slots, vocab_size = states.shape[0], weight.shape[0]
        device = states.device.type
        dtype = compute_dtype(states)
        table, loss, num_correct = weight.to(dtype), states.new_zeros((), dtype=torch.float32), 0
        masked = original_ids != -100
        num_masked = masked.sum().clamp(min=1)
        known_ids = original_ids.clamp(min=0)
        of_states = of_weight = of_bias = None
        if needs_gradient:
            of_states, of_weight = torch.empty_like(states), torch.zeros_like(weight)
            of_bias = torch.zeros_like(bias)
        at_once = max(1, SCORES_AT_ONCE.get(device, SCORES_AT_ONCE["other"]) // vocab_size)
        drawn = []
        with torch.autocast(device, enabled=False):
            for part in (slice(start, start + at_once) for start in range(0, num_slots, at_once)):
                some = states[part].to(dtype)
                scores = torch.addmm(bias.to(dtype), some, table.t()).float()  # (at_once, vocab_size)
                ids, counted = known_ids[part, None], masked[part]
                of_original = scores.gather(1, ids)
                highest = scores.max(dim=-1, keepdim=True).values
                num_correct = num_correct + ((of_original == highest).squeeze(1) & counted).sum()
                drawn_of_part = None
                if temperature != 1.0 or forbid_original:
                    changed = scores / temperature
                    if forbid_original:
                        changed = changed.scatter(1, ids, float("-inf"))
                    drawn_of_part = draw_from_probabilities(changed.softmax(dim=-1))
                probabilities = scores.sub_(highest).exp_()
                totals = probabilities.sum(dim=-1, keepdim=True)
                losses = (totals.log() + highest - of_original).squeeze(1)
                loss = loss + torch.where(counted, losses, 0.0).sum()
                probabilities.div_(totals)
                drawn.append(draw_from_probabilities(probabilities) if drawn_of_part is None else drawn_of_part)
                if needs_gradient:
                    probabilities.scatter_add_(1, ids, torch.full_like(of_original, -1.0))
                    gradient = probabilities.mul_(counted[:, None] / num_masked).to(dtype)
                    of_states[part] = gradient @ table
                    if dtype == of_weight.dtype:
                        of_weight.addmm_(gradient.t(), some)
                    else:  # the sum over parts stays as exact as the parameter
                        of_weight.add_(gradient.t() @ some)
                    of_bias.add_(gradient.sum(dim=0))
        ctx.save_for_backward(of_states, of_weight, of_bias)
        drawn_ids = torch.cat(drawn) if drawn else original_ids.new_empty(0)
        accuracy = torch.as_tensor(num_correct, device=states.device) / num_masked
        ctx.mark_non_differentiable(drawn_ids, accuracy)
        return loss / num_masked, drawn_ids, accuracy

    @staticmethod
    @once_differentiable
    def backward(ctx, of_loss, _, __):
        return *(saved * of_loss.to(saved.dtype) for saved in ctx.saved_tensors), None, None, None, None


def masked_slot_figures(
    states: Tensor,
    weight: Tensor,
    bias: Tensor,
    original_ids: Tensor,
    temperature: float = 1.0,
    forbid_original: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    Score the masked slots over the vocabulary, and return only what a training step needs of it.

    Args:
        states (`torch.FloatTensor` of shape `(num_masked, embedding_size)`): What the head's table is multiplied with.
        weight (`torch.FloatTensor` of shape `(vocab_size, embedding_size)`): The table.
        bias (`torch.FloatTensor` of shape `(vocab_size,)`)
        original_ids (`torch.LongTensor` of shape `(num_masked,)`): The tokens that were masked, -100 ignored.
        temperature (`float`, *optional*, defaults to 1.0): Of the draws, > 0.
        forbid_original (`bool`, *optional*, defaults to `False`): Never draw the original token.

    Returns:
        `tuple`: the mean loss in nats as [`masked_lm_loss`] gives it, with gradient; tokens drawn as by
        [`sample_replacements`], `(num_masked,)`; and the fraction of slots whose likeliest token is right.

    Raises:
        ValueError: `temperature` is zero or negative.
    """
    if temperature <= 0:
        raise ValueError(f"`temperature` must be > 0, got {temperature}. Towards 0 the likeliest token always wins.")
    needs_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in (states, weight, bias))
    return _MaskedSlots.apply(states, weight, bias, original_ids, temperature, forbid_original, needs_gradient)
