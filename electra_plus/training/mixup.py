"""Mixup of sentence vectors: a classifier learns from points between two texts, and from targets between theirs."""

import random

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, TrainerCallback
from transformers.utils import ModelOutput

from electra_plus.data.masking import hashed_seed
from electra_plus.models.modeling_electra_plus_heads import ElectraPlusClassificationHead


def mixed(values: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    r"""
    Return points between each row and its partner.

    Args:
        values (`torch.FloatTensor` of shape `(num_texts, ...)`): Vectors, or targets.
        partners (`torch.LongTensor` of shape `(num_texts,)`): Row number of each row's partner.
        shares (`torch.FloatTensor` of shape `(num_texts,)`): Of the row itself, in [0, 1]; the rest is the partner's.

    Returns:
        `torch.FloatTensor`: of the shape and type of `values`; the mean is taken in float32.

    Example:

    >>> mixed(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 0.5])).tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """
    shares = shares.view(-1, *[1] * (values.dim() - 1)).float()
    return (shares * values.float() + (1 - shares) * values[partners].float()).to(values.dtype)


class SentenceMixup(TrainerCallback):
    r"""
    Trains a classification head on mixed pairs of sentence vectors, with their targets mixed alike.

    Each text of a batch gets a partner by a random permutation, perhaps itself, and a share drawn from Beta(alpha, alpha). What is
    mixed is the vector that enters the head's dense layer, one for each text whether rows are padded or packed. Only training is
    changed: evaluations see the texts as they are, and when training ends nothing is left in the model.

    Pairs and shares follow from `seed`, the trainer's seed and the number of the optimizer step, so a resumed run draws what an
    uninterrupted one does. With the stock `Trainer`, as with ours, give both the callback and its loss.

    Args:
        model ([`PreTrainedModel`]):
            With this package's classification head, such as [`ElectraPlusForSequenceClassification`]: classes, several labels,
            or a number.
        alpha (`float`, *optional*, defaults to 0.4):
            Of the Beta distribution, > 0. At 1 every share is as likely; towards 0 one text of a pair has nearly all.
        seed (`int`, *optional*, defaults to 0): Of the draws.
        class_weights (`torch.FloatTensor` of shape `(num_labels,)`, *optional*):
            What each class's share of the loss is multiplied by, for classes alone.

    Raises:
        TypeError: The model has another head.
        ValueError: `alpha` is not above 0.

    Example:

    ```python
    >>> import transformers
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForSequenceClassification
    >>> model = ElectraPlusForSequenceClassification(ElectraPlusConfig.preset("tiny", vocab_size=100, num_labels=3))
    >>> mixup = SentenceMixup(model, alpha=0.4)
    >>> trainer = transformers.Trainer(
    ...     model, train_dataset=[{"input_ids": [2, 7, 3], "labels": 1}], callbacks=[mixup], compute_loss_func=mixup.loss
    ... )

    ```

    Source: Guo, Mao and Zhang 2019, https://arxiv.org/abs/1905.08941 (senMixup); mixup is Zhang et al. 2018,
    https://arxiv.org/abs/1710.09412, whose code (facebookresearch/mixup-cifar10, train.py) draws one share for a batch. Here each
    pair has its own.
    """

    def __init__(self, model: PreTrainedModel, alpha: float = 0.4, seed: int = 0, class_weights: Tensor | None = None):
        if not isinstance(getattr(model, "classifier", None), ElectraPlusClassificationHead):
            raise TypeError(
                f"`model` must have a classification head over sentence vectors, got {type(model).__name__}. Mixup is for "
                "ElectraPlusForSequenceClassification."
            )
        if not alpha > 0:
            raise ValueError(f"`alpha` must be > 0, got {alpha}. 0.1 mixes little, 1 mixes much.")
        self.model, self.alpha, self.seed, self.class_weights = model, alpha, seed, class_weights
        self._rng = random.Random(seed)
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._pairs: tuple[Tensor, Tensor] | None = None  # of the batch under way

    def on_train_begin(self, args, state, control, **kwargs):
        self._take_away()  # of a training that was broken off
        self._hook = self.model.classifier.dense.register_forward_pre_hook(self._mix)

    def on_step_begin(self, args, state, control, **kwargs):
        self._rng = random.Random(hashed_seed(f"{self.seed},{args.seed},{state.global_step},mixup"))

    def on_train_end(self, args, state, control, **kwargs):
        self._take_away()

    def _take_away(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._pairs = None, None

    def draw(self, num_texts: int) -> tuple[Tensor, Tensor]:
        """Return the partners and shares of a batch, as [`mixed`] takes them."""
        partners = self._rng.sample(range(num_texts), num_texts)
        shares = [self._rng.betavariate(self.alpha, self.alpha) for _ in range(num_texts)]
        return torch.tensor(partners), torch.tensor(shares)

    @torch.compiler.disable  # the draws are Python's, anew for every batch
    def _mix(self, layer: torch.nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        self._pairs = None
        if not layer.training:
            return None
        (vectors,) = inputs  # (num_texts, hidden_size)
        partners, shares = self.draw(len(vectors))
        self._pairs = partners.to(vectors.device), shares.to(vectors.device)
        return (mixed(vectors, *self._pairs),)

    def loss(self, outputs: ModelOutput, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """
        Return the model's own loss of the batch, with targets mixed where its vectors were; a `compute_loss_func` for `Trainer`.

        Cross-entropy and binary cross-entropy of a mixed target are the mixed losses. The squared error of a mixed number is
        less than those by an amount that does not depend on the model: the gradients are the same.

        Args:
            outputs (`ModelOutput`): Of the forward pass just made, with `logits` of shape `(num_texts, num_labels)`.
            labels (`torch.Tensor`): As the model takes them.
            num_items_in_batch (`torch.Tensor` or `int`, *optional*): Labels in all batches of the optimizer step. `None` counts these.
        """
        pairs, self._pairs = self._pairs, None
        logits = outputs["logits"].float()
        problem = self._problem_type(labels)
        if problem == "single_label_classification":
            targets = F.one_hot(labels.view(-1), logits.shape[-1]).float()
        else:
            targets = labels.float().view(logits.shape)
        if pairs is not None:
            targets = mixed(targets, *pairs)
        if problem == "single_label_classification":
            weights = None if self.class_weights is None else self.class_weights.to(logits.device)
            total = F.cross_entropy(logits, targets, weight=weights, reduction="sum")
        elif problem == "multi_label_classification":
            total = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        else:
            total = F.mse_loss(logits, targets, reduction="sum")
        return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)

    def _problem_type(self, labels: Tensor) -> str:
        """Return the configuration's, or what transformers takes it for: its own losses fill it in, and they are not called here."""
        config = self.model.config
        if config.problem_type is not None:
            return config.problem_type
        if config.num_labels == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
