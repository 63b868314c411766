"""Models and batches for tests that run over every head of the registration table, in both flavours."""

import pytest
import torch
from model_helpers import joint_config, masked_batch, small_config, text_batch

import electra_plus
from electra_plus.registration import HEADS

every_flavour = pytest.mark.parametrize("flavour", ["classic", "modern"])
every_head = pytest.mark.parametrize("name", [head.class_name for head in HEADS])


def config_for(name: str, flavour: str, **overrides) -> electra_plus.ElectraPlusConfig:
    """The configuration that the head needs; `generator` holds fields of the joint model's generator."""
    if name == "ElectraPlusForPreTraining":
        # so cold that the draw is the likeliest token: two runs can be compared
        return joint_config(flavour, generator_temperature=1e-12, **overrides)
    return small_config(flavour, is_decoder=name == "ElectraPlusForCausalLM", **overrides)


def make_model(name: str, flavour: str, **overrides):
    """The same weights at every call, in eval mode."""
    torch.manual_seed(0)
    return getattr(electra_plus, name)(config_for(name, flavour, **overrides)).eval()


def as_choices(tensor: torch.Tensor) -> torch.Tensor:
    """Two choices a question: the row, and the row with its tokens moved by one."""
    return torch.stack([tensor, tensor.roll(1, dims=-1)], dim=1)


def batch_for(name: str, length: int = 17) -> dict[str, torch.Tensor]:
    """Three rows of text, or for multiple choice three questions of two choices, the first without padding."""
    batch = text_batch(length=length)
    if name == "ElectraPlusForMultipleChoice":
        padding = batch["attention_mask"]
        return {k: as_choices(v) for k, v in batch.items()} | {"attention_mask": torch.stack([padding, padding], dim=1)}
    return batch


def labelled_batch_for(name: str, length: int = 17) -> dict[str, torch.Tensor]:
    """A padded batch with the labels that give the head a loss."""
    batch = batch_for(name, length)
    tokens = batch["input_ids"]
    if name == "ElectraPlusForPreTraining":
        return masked_batch(length=length)
    if name == "ElectraPlusForQuestionAnswering":
        return {
            **batch,
            "start_positions": torch.zeros(len(tokens)).long(),
            "end_positions": torch.zeros(len(tokens)).long(),
        }
    if name in (
        "ElectraPlusForSequenceClassification",
        "ElectraPlusForLongSequenceClassification",
        "ElectraPlusForMultipleChoice",
    ):
        return {**batch, "labels": torch.arange(len(tokens)) % 2}
    if name == "ElectraPlusModel":
        return batch
    in_vocabulary = name in ("ElectraPlusForMaskedLM", "ElectraPlusForCausalLM")
    labels = tokens if in_vocabulary else tokens % 2
    return {**batch, "labels": labels.masked_fill(batch["attention_mask"] == 0, -100)}


def scores_of(outputs, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The head's scores by name, zero at padding, where they mean nothing and nobody compares them."""
    names = ("last_hidden_state", "logits", "start_logits", "end_logits")
    scores, attended = {}, batch["attention_mask"].bool()
    for name in names:
        if name not in outputs:
            continue
        score = outputs[name]
        if score.shape[: attended.dim()] == attended.shape:  # a score or a vector for each token
            padding = ~attended.view(*attended.shape, *[1] * (score.dim() - attended.dim()))
            score = score.masked_fill(padding, 0.0)
        scores[name] = score
    return scores


def objective(outputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss, or a sum over all scores for heads whose loss is absent or counts padding (question answering)."""
    if "loss" in outputs and "start_logits" not in outputs:
        return outputs.loss
    scores = scores_of(outputs, batch).values()
    return sum((score * torch.linspace(-1, 1, score.numel()).view_as(score)).sum() for score in scores)
