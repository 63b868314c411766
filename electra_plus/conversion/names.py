"""
What tensors are called in each kind of checkpoint, as rows of (pattern, name here, what is done).

Everything is first told in transformers' names. Those of stock ELECTRA are ours; a joint checkpoint's generator has the prefix
`generator.`. A kind of checkpoint is one table here.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from electra_plus.conversion.plan import Step
from electra_plus.conversion.weights import TensorInfo, Weights, dtype_name


@dataclass(frozen=True)
class Operation:
    """
    What is done with a tensor.

    Args:
        label (`str`): For the reader of a plan.
        shape (`Callable`): The result's shape by the source's.
        apply (`Callable`): The result itself.
    """

    label: str
    shape: Callable[[tuple[int, ...]], tuple[int, ...]]
    apply: Callable[[torch.Tensor], torch.Tensor]


AS_IT_IS = Operation("as it is", lambda shape: shape, lambda tensor: tensor)
TRANSPOSED = Operation("transposed", lambda shape: shape[::-1], lambda tensor: tensor.T.contiguous())


def rows_from(first: int) -> Operation:
    """Return the operation that leaves the first rows out."""
    return Operation(
        f"rows from {first} on",
        lambda shape: (max(shape[0] - first, 0), *shape[1:]),
        lambda tensor: tensor[first:].clone(),
    )


def rows_before(first: int) -> Operation:
    """Return the operation that keeps the first rows alone."""
    return Operation(f"rows 0 to {first - 1}", lambda shape: (first, *shape[1:]), lambda tensor: tensor[:first].clone())


@dataclass(frozen=True)
class Rule:
    """
    What becomes of tensors whose whole name fits a pattern.

    Args:
        pattern (`str`): Regular expression.
        name (`str` or `None`): The new name, with `\\1` for groups; `None` has no place.
        operation ([`Operation`], *optional*): What is done with a tensor that has a place.
        why (`str`, *optional*): What a tensor without place is.
        kept (`bool`, *optional*, defaults to `False`): Whether a tensor without place is kept aside for the way back.
    """

    pattern: str
    name: str | None
    operation: Operation = AS_IT_IS
    why: str = ""
    kept: bool = False


# Buffers that older versions of transformers saved, and that every model makes anew.
OF_EVERY_MODEL = (Rule(r"(?:.*\.)?(?:position_ids|token_type_ids)", None, why="a buffer that is made anew"),)

BERT = (
    Rule(r"(?:bert\.)?pooler\..*", None, why="the pooler", kept=True),
    Rule(r"cls\.seq_relationship\..*", None, why="the next sentence head", kept=True),
    Rule(r"cls\.predictions\.transform\.(.*)", r"generator_predictions.\1"),
    Rule(r"cls\.predictions\.decoder\.weight", "generator_lm_head.weight"),
    Rule(r"cls\.predictions\.(?:decoder\.)?bias", "generator_lm_head.bias"),
    Rule(r"bert\.(.*)", r"electra.\1"),
)
# heads that stand on the pooler, which is their dense layer with tanh
BERT_MULTIPLE_CHOICE = (Rule(r"(?:bert\.)?pooler\.dense\.(.*)", r"sequence_summary.summary.\1"), *BERT)
BERT_CLASSIFICATION = (
    Rule(r"(?:bert\.)?pooler\.dense\.(.*)", r"classifier.dense.\1"),
    Rule(r"classifier\.(weight|bias)", r"classifier.out_proj.\1"),
    *BERT,
)


def roberta(num_rows: int) -> tuple[Rule, ...]:
    """
    Return the rules of RoBERTa, XLM-R and CamemBERT.

    Args:
        num_rows (`int`): Rows of the position table that no token has; positions begin behind the padding's id.
    """
    return (
        Rule(r"(?:roberta\.)?pooler\..*", None, why="the pooler", kept=True),
        Rule(r"lm_head\.dense\.(.*)", r"generator_predictions.dense.\1"),
        Rule(r"lm_head\.layer_norm\.(.*)", r"generator_predictions.LayerNorm.\1"),
        Rule(r"lm_head\.decoder\.weight", "generator_lm_head.weight"),
        Rule(r"lm_head\.(?:decoder\.)?bias", "generator_lm_head.bias"),
        Rule(r"(?:roberta\.)?(embeddings\.position_embeddings\.weight)", r"electra.\1", operation=rows_from(num_rows)),
        Rule(r"roberta\.(.*)", r"electra.\1"),
    )


def roberta_multiple_choice(num_rows: int) -> tuple[Rule, ...]:
    """Return [`roberta`]'s rules for the head that stands on the pooler."""
    return (Rule(r"roberta\.pooler\.dense\.(.*)", r"sequence_summary.summary.\1"), *roberta(num_rows))


# The generator that lies beside the weights of DeBERTaV3: names of its authors' code, not of transformers.
DEBERTA_V3_GENERATOR = (
    Rule(r"lm_predictions\.lm_head\.(dense|LayerNorm)\.(.*)", r"cls.predictions.transform.\1.\2"),
    Rule(r"lm_predictions\.lm_head\.bias", "cls.predictions.bias"),
    Rule(
        r"deberta\.embeddings\.position_embeddings\.weight",
        None,
        why="positions of the enhanced mask decoder, which transformers has not got",
    ),
)

# google-research/electra, model/modeling.py and run_pretraining.py; google-research/bert, modeling.py and run_pretraining.py.
# The last step, from a path to a name, is `_tensorflow_name`.
TENSORFLOW = (
    Rule(r"(?:.*/)?(?:adam_[mv]|global_step)", None, why="the optimizer's"),
    Rule(r"(discriminator_predictions)/dense_1/(.*)", r"\1/dense_prediction/\2"),
    Rule(r"generator_predictions/output_bias", "generator/generator_lm_head/bias"),
    Rule(r"(generator_predictions/.*)", r"generator/\1"),
    Rule(r"generator/((?:embeddings|embeddings_project|encoder)/.*)", r"generator/electra/\1"),
    Rule(r"cls/predictions/output_bias", "cls/predictions/bias"),
    Rule(r"(cls/seq_relationship)/output_(?:weights)", r"\1/weight"),
    Rule(r"(cls/seq_relationship)/output_bias", r"\1/bias"),
)


@dataclass(frozen=True)
class Style:
    """A way in which a training script puts two networks into one module: prefixes of its state dict."""

    name: str
    rules: tuple[Rule, ...]


# Told by the first style of which every rule fits some name.
STYLES = (
    Style(
        # pretraining/openwebtext/pretrain.py: transformers' models in adapters
        "lucidrains/electra-pytorch",
        (
            Rule(r"generator\.adaptee\.(.*)", r"generator.\1"),
            Rule(r"discriminator\.adaptee\.(.*)", r"\1"),
        ),
    ),
    Style(
        # README.md, `discr_dim`: hidden states of transformers' model, then one linear layer
        "lucidrains/electra-pytorch with `discr_dim`",
        (
            Rule(r"discriminator\.0\.net\.(.*)", r"\1"),
            Rule(r"discriminator\.1\.(.*)", r"discriminator.1.\1"),
        ),
    ),
    Style(
        # pretrain.py: transformers' models themselves
        "richarddwang/electra_pytorch",
        (
            Rule(r"discriminator\.(electra\..*)", r"\1"),
            Rule(r"discriminator\.(discriminator_predictions\..*)", r"\1"),
        ),
    ),
)


class RenamedWeights:
    r"""
    Weights under other names.

    Args:
        weights ([`Weights`]): The weights.
        names (`dict[str, tuple[str, Operation]]`): By the new name, the old one and what is done with the tensor.

    Attributes:
        infos (`dict[str, TensorInfo]`): By the new names.
    """

    def __init__(self, weights: Weights, names: dict[str, tuple[str, Operation]]):
        self._weights, self._names = weights, names
        self.infos = {
            new: TensorInfo(operation.shape(weights.infos[old].shape), weights.infos[old].dtype)
            for new, (old, operation) in names.items()
        }

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        old, operation = self._names[name]
        return operation.apply(self._weights.read(old))

    def origin(self, name: str) -> tuple[str, str]:
        """Return what a tensor is called in the file, and what was done with it."""
        old, operation = self._names[name]
        first, label = origin(self._weights, old)
        return first, label if operation is AS_IT_IS else operation.label


def origin(weights: Weights, name: str) -> tuple[str, str]:
    """Return what a tensor is called in its file, and what was done with it since."""
    return weights.origin(name) if isinstance(weights, RenamedWeights) else (name, AS_IT_IS.label)


def spellings(name: str, base: str) -> tuple[str, str, str]:
    """
    Return a name as it is, with and without the prefix of the encoder: models with a head have it, bare ones do not.

    >>> spellings("electra.encoder", "electra")
    ('electra.encoder', 'electra.electra.encoder', 'encoder')
    """
    return name, f"{base}.{name}", name.removeprefix(f"{base}.")


def first_rule(name: str, rules: Iterable[Rule]) -> tuple[Rule | None, str | None]:
    """Return the first rule that fits a name, and the name it gives; a name that none fits stays as it is."""
    for rule in rules:
        if match := re.fullmatch(rule.pattern, name):
            return rule, match.expand(rule.name) if rule.name is not None else None
    return None, name


def in_transformers_names(weights: Weights) -> tuple[RenamedWeights, list[Step]]:
    """
    Return a state dict of any style in transformers' names, and a step for each tensor that needs no place.

    `module.` of parallel training, `_orig_mod.` of compiled models, `model.` of Lightning modules, and `gamma` and `beta` of old versions are told too.
    """
    style = next((style for style in STYLES if _fits(weights, style)), None)
    names, left_out = {}, []
    for old in weights.infos:
        rule, new = first_rule(_plain(old), (*OF_EVERY_MODEL, *(style.rules if style else ())))
        if new is None:
            left_out.append(leave_out(weights, old, rule.why))
        else:
            # two names for one tensor: the second stays as it is, and has no place
            names[new if new not in names else old] = (old, AS_IT_IS)
    return RenamedWeights(weights, names), left_out


def from_tensorflow_names(weights: Weights) -> tuple[RenamedWeights, list[Step]]:
    """Return a TensorFlow checkpoint of ELECTRA or BERT in transformers' names, and a step for each tensor without place."""
    names, left_out = {}, []
    for old, info in weights.infos.items():
        rule, path = first_rule(old, TENSORFLOW)
        if path is None or info.dtype is None:
            left_out.append(leave_out(weights, old, rule.why if path is None else "no numbers"))
        else:
            names[_tensorflow_name(path)] = (old, TRANSPOSED if path.endswith("/kernel") else AS_IT_IS)
    return RenamedWeights(weights, names), left_out


def leave_out(weights: Weights, name: str, why: str) -> Step:
    """Return the step of a tensor that needs no place."""
    info = weights.infos[name]
    return Step(origin(weights, name)[0], None, info.shape, dtype_name(info), f"left out: {why}")


def _plain(name: str) -> str:
    name = re.sub(r"^(?:module\.|_orig_mod\.|model\.)+", "", name)
    return re.sub(r"LayerNorm\.(gamma|beta)$", lambda match: f"LayerNorm.{_NORM[match[1]]}", name)


_NORM = {"gamma": "weight", "beta": "bias"}


def _tensorflow_name(path: str) -> str:
    path = re.sub(r"/kernel$", "/weight", re.sub(r"_embeddings$", "_embeddings/weight", path))
    path = re.sub(r"/(gamma|beta)$", lambda match: f"/{_NORM[match[1]]}", path)
    return re.sub(r"/layer_(\d+)/", r"/layer/\1/", path).replace("/", ".")


def _fits(weights: Weights, style: Style) -> bool:
    names = [_plain(name) for name in weights.infos]
    return all(any(re.fullmatch(rule.pattern, name) for name in names) for rule in style.rules)


__all__ = [
    "AS_IT_IS",
    "BERT",
    "BERT_CLASSIFICATION",
    "BERT_MULTIPLE_CHOICE",
    "DEBERTA_V3_GENERATOR",
    "OF_EVERY_MODEL",
    "Operation",
    "RenamedWeights",
    "Rule",
    "first_rule",
    "from_tensorflow_names",
    "in_transformers_names",
    "leave_out",
    "origin",
    "roberta",
    "roberta_multiple_choice",
    "rows_before",
    "spellings",
    "rows_from",
]
