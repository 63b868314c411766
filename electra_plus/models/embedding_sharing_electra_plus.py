"""What generator and discriminator share of their embedding tables: nothing, the same tensors, or all but a difference."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel


class ElectraPlusEmbeddingDifferences(nn.Module):
    r"""
    Gradient-disentangled sharing: the discriminator's tables are the generator's plus a difference of their own.

    The masked LM trains the generator's tables, replaced token detection trains the differences only, so neither pulls the
    tables where the other does not want them. The discriminator's own tables hold the sum and get no gradient, so that the
    discriminator can be used and saved alone at any time.

    Args:
        tables (`dict[str, nn.Embedding]`): The generator's tables by the discriminator's names.

    Source: He, Gao and Chen 2021 (DeBERTaV3), https://arxiv.org/abs/2111.09543, section 3.2.2.
    """

    def __init__(self, tables: dict[str, nn.Embedding]):
        super().__init__()
        self.padding_idx = {name: table.padding_idx for name, table in tables.items()}
        for name, table in tables.items():
            self.register_parameter(name, nn.Parameter(torch.zeros_like(table.weight)))

    @torch.no_grad()
    def fold(self, theirs: dict[str, nn.Embedding], ours: dict[str, nn.Embedding]) -> None:
        """Set the discriminator's tables (`ours`) to the sum."""
        for name, difference in self.named_parameters():
            ours[name].weight.copy_(theirs[name].weight + difference)

    @torch.no_grad()
    def set_from(self, theirs: dict[str, nn.Embedding], ours: dict[str, nn.Embedding]) -> None:
        """Set the differences so that the sum is what the discriminator's tables (`ours`) hold."""
        for name, difference in self.named_parameters():
            difference.copy_(ours[name].weight - theirs[name].weight)

    def resize_words(self, num_tokens: int) -> None:
        """Make the words' difference as long as the resized tables; new tokens start without one."""
        old = self.word_embeddings.data[:num_tokens]
        new = old.new_zeros(num_tokens, old.shape[1])
        new[: len(old)] = old
        self.word_embeddings = nn.Parameter(new)

    def gradient_path(self, **ids: Tensor) -> Tensor:
        r"""
        Return zeros through which the differences get the gradient of what looks up their tables.

        Args:
            ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): By the table's name.

        Returns:
            `torch.Tensor` of shape `(batch_size, sequence_length, embedding_size)`
        """
        looked_up = sum(
            F.embedding(ids[name], difference, padding_idx=self.padding_idx[name])
            for name, difference in self.named_parameters()
        )
        return looked_up - looked_up.detach()


def tables_with_a_difference(generator: PreTrainedModel, discriminator: PreTrainedModel) -> tuple[dict, dict]:
    """Return the generator's and the discriminator's word tables, and position tables of equal shape, by name."""
    theirs, ours = (
        {
            "word_embeddings": model.get_input_embeddings(),
            "position_embeddings": getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None),
        }
        for model in (generator, discriminator)
    )
    tables = [theirs["position_embeddings"], ours["position_embeddings"]]
    if not all(isinstance(table, nn.Embedding) for table in tables) or tables[0].weight.shape != tables[1].weight.shape:
        del theirs["position_embeddings"], ours["position_embeddings"]
    return theirs, ours


def fold_before_saving(model: PreTrainedModel, prefix: str, keep_vars: bool) -> None:
    """Bring the discriminator's tables up to date before `state_dict` reads them; a hook."""
    model.fold_embeddings()


def shared_embedding_keys(model: PreTrainedModel) -> dict[str, str]:
    """Return `{generator's parameter: discriminator's parameter}`; the discriminator's is what a checkpoint keeps."""
    sharing = model.config.embedding_sharing
    if sharing in ("none", "gdes"):
        return {}
    if sharing == "word":
        return {
            f"{_name_of(model, model.generator.get_input_embeddings())}.weight": "electra.embeddings.word_embeddings.weight"
        }
    theirs = getattr(model.generator.base_model, "embeddings", None)
    theirs_shapes = {name: p.shape for name, p in theirs.named_parameters()} if theirs is not None else {}
    ours_shapes = {name: p.shape for name, p in model.electra.embeddings.named_parameters()}
    if theirs_shapes != ours_shapes:
        raise ValueError(
            f"`embedding_sharing='all'` needs the same embedding tables in both networks, got {_describe(ours_shapes)} in "
            f"the discriminator and {_describe(theirs_shapes)} in the generator. Use `embedding_sharing='word'` or 'none'."
        )
    prefix = _name_of(model, theirs)
    return {f"{prefix}.{name}": f"electra.embeddings.{name}" for name in ours_shapes}


def equal_embeddings(generator: PreTrainedModel, detector: PreTrainedModel) -> str:
    """Return the `embedding_sharing` that changes neither network: `"all"`, `"word"` or `"none"`."""
    ours = detector.electra.embeddings.state_dict()
    theirs_module = getattr(generator.base_model, "embeddings", None)
    theirs = theirs_module.state_dict() if theirs_module is not None else {}
    if ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours):
        return "all"
    word = generator.get_input_embeddings().weight
    return "word" if torch.equal(word, detector.get_input_embeddings().weight) else "none"


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def _describe(shapes: dict) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()) or "none by that name"
