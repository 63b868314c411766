"""One model of a conversion: the tensors it gets by name, the steps to show, and the model itself."""

import logging
from collections.abc import Callable, Iterable
from functools import reduce

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from electra_plus.conversion.names import AS_IT_IS, Operation, Rule, first_rule, origin, rows_before, spellings
from electra_plus.conversion.plan import NO_PLACE, NO_SOURCE, OTHER_SHAPE, PartPlan, Step
from electra_plus.conversion.weights import TensorInfo, Weights, dtype_name
from electra_plus.folders import one_line

logger = logging.getLogger(__name__)


class Part:
    r"""
    A model to make, and what it is made of.

    Args:
        name (`str`): `"discriminator"` or `"generator"` where there are two, else empty.
        weights ([`Weights`]): The source.
        make_model (`Callable`): Makes the model of a configuration, such as its class.
        config ([`PreTrainedConfig`]): The configuration.

    [`forward`](Part.forward) or [`backward`](Part.backward) fill the rest:

    Attributes:
        origins (`dict[str, tuple[str, Operation]]`): By the model's name, the source's and what is done.
        left_out (`dict[str, str]`): By the source's name, why it needs no place.
        kept (`dict[str, tuple[Operation, str]]`): By the source's name, what of it is kept aside, and what it is.
        unmatched (`dict[str, str]`): By the source's name, why it has no place though it might need one.
        extra (`dict[str, torch.Tensor]`): What was kept aside and only the source's file had a place for, not its class.
        lacking (`dict[str, str]`): By the model's name, what of a tensor that it gets would be new.
        further_steps (`list[Step]`): For tensors of the file that are not among the weights.
    """

    def __init__(
        self,
        name: str,
        weights: Weights,
        make_model: Callable[[PreTrainedConfig], PreTrainedModel],
        config: PreTrainedConfig,
    ):
        self.name, self.weights, self.make_model, self.config = name, weights, make_model, config
        self.origins: dict[str, tuple[str, Operation]] = {}
        self.left_out: dict[str, str] = {}
        self.kept: dict[str, tuple[Operation, str]] = {}
        self.unmatched: dict[str, str] = {}
        self.extra: dict[str, torch.Tensor] = {}
        self.lacking: dict[str, str] = {}
        self.further_steps: list[Step] = []
        self._look_at_model()

    def _look_at_model(self) -> None:
        try:
            with torch.device("meta"):
                model = self.make_model(self.config)
        except (RuntimeError, ArithmeticError, KeyError) as error:  # sizes beyond all memory, activations that are none
            raise ValueError(
                f"No {type(self.config).__name__} model can be made of the checkpoint's configuration: {one_line(error)}. Copy "
                "config.json again."
            ) from error
        self.class_name = type(model).__name__
        self.targets = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        self.tied = dict(model.all_tied_weights_keys)

    # ---- mappings ----

    def forward(self, rules: Iterable[Rule], base: str = "electra") -> "Part":
        """Map by rules that lead from the source's names to the model's. A prefix `base` may be there or not, in either."""
        rules = tuple(rules)
        for source in self.weights.infos:
            rule, name = first_rule(source, rules)
            if name is None:
                if rule.kept:
                    self.kept[source] = (AS_IT_IS, rule.why)
                else:
                    self.left_out[source] = rule.why
                continue
            target = next((candidate for candidate in spellings(name, base) if candidate in self.targets), None)
            operation = rule.operation if rule else AS_IT_IS
            if target is None:
                self.unmatched[source] = f"{self.class_name} has none"
            elif target in self.origins:
                self._take_second(source, target)
            else:
                self.origins[target] = (source, operation)
                if operation is not AS_IT_IS:
                    first = self.weights.infos[source].shape[0] - operation.shape(self.weights.infos[source].shape)[0]
                    self.kept[source] = (rows_before(first), "rows that no token has")
        self._settle_ties()
        return self

    def backward(self, rules: Iterable[Rule], aside: Weights | None, base: str = "electra") -> "Part":
        """Map by rules that lead from the model's names to the source's; what these keep aside comes from there."""
        rules, used = tuple(rules), set()
        for target, shape in self.targets.items():
            rule, name = first_rule(target, rules)
            if name is None:
                if rule.kept and aside is not None and target in aside.infos:
                    self.origins[target] = (target, _from_aside(aside, target))
                continue
            source = next((candidate for candidate in spellings(name, base) if candidate in self.weights.infos), None)
            if source is None:
                continue
            used.add(source)
            operation = rule.operation if rule else AS_IT_IS
            if operation is not AS_IT_IS:
                operation = self._with_rows(target, shape[0] - operation.shape(shape)[0], aside)
            self.origins[target] = (source, operation)
        for source in self.weights.infos:
            if source not in used:
                self.unmatched[source] = f"{self.class_name} has none"
        if aside is not None:
            self.extra = {name: aside.read(name) for name in aside.infos if name not in self.targets}
        self._settle_ties()
        return self

    def _with_rows(self, target: str, num_rows: int, aside: Weights | None) -> Operation:
        """Return the operation that puts back the rows before a table, or zeros in their place."""
        rows_shape = (num_rows, *self.targets[target][1:])
        known = aside is not None and target in aside.infos and aside.infos[target].shape == rows_shape
        if not known:
            self.lacking[target] = f"rows 0 to {num_rows - 1} would be zeros"

        def put_back(tensor: torch.Tensor) -> torch.Tensor:
            rows = aside.read(target) if known else tensor.new_zeros(num_rows, *tensor.shape[1:])
            return torch.cat([rows.to(tensor.dtype), tensor])

        return Operation(f"behind rows 0 to {num_rows - 1}", lambda shape: (shape[0] + num_rows, *shape[1:]), put_back)

    def _take_second(self, source: str, target: str) -> None:
        """Settle a second tensor for one place: fine if it is the same."""
        first, operation = self.origins[target]
        if torch.equal(self.weights.read(first), self.weights.read(source)):
            self.left_out[source] = f"the same as {first}"
        else:
            self.unmatched[source] = f"differs from {first}, which has its place"

    def _settle_ties(self) -> None:
        """Tensors that the model ties need one source; two that differ untie the word table."""
        for target, kept in list(self.tied.items()):
            if target not in self.origins:
                continue
            if kept not in self.origins:
                self.origins[kept] = self.origins.pop(target)
            elif self._read(target).equal(self._read(kept)):
                self.left_out[self.origins.pop(target)[0]] = f"the same as {self.origins[kept][0]}"
            elif self.config.tie_word_embeddings:
                logger.warning(
                    f"`tie_word_embeddings` becomes False: {self.origins[target][0]} and {self.origins[kept][0]} differ."
                )
                self.config.tie_word_embeddings = False
                self._look_at_model()
                self._settle_ties()
                return
            else:
                source, _ = self.origins.pop(target)
                self.unmatched[source] = f"differs from {self.origins[kept][0]}, which {self.class_name} ties it to"

    @property
    def missing(self) -> list[str]:
        """Names in the model that get nothing."""
        return [
            name for name in self.targets if name not in self.origins and self.tied.get(name, name) not in self.origins
        ]

    # ---- what is shown and what is made ----

    def plan(self) -> PartPlan:
        """Return the steps, in the source's order, and what is missing after them."""
        by_source: dict[str, list[Step]] = {}
        from_elsewhere = []
        for target, (source, operation) in self.origins.items():
            if source not in self.weights.infos:  # of the file of what was kept aside
                shape, needed = operation.shape(()), self.targets[target]
                action, problem = operation.label, None
                if shape != needed:
                    action, problem = f"has shape {shape}, needed is {needed}", OTHER_SHAPE
                from_elsewhere.append(Step(source, target, needed, "", action, problem))
                continue
            info = self.weights.infos[source]
            name, label = origin(self.weights, source)
            shape = operation.shape(info.shape)
            action, problem = label if operation is AS_IT_IS else operation.label, None
            if shape != self.targets[target]:
                action, problem = f"has shape {shape}, needed is {self.targets[target]}", OTHER_SHAPE
            elif target in self.lacking:
                action, problem = f"{action}: {self.lacking[target]}", NO_SOURCE
            by_source.setdefault(source, []).append(Step(name, target, shape, dtype_name(info), action, problem))
        steps = []
        for source, info in self.weights.infos.items():
            name, _ = origin(self.weights, source)
            steps += by_source.get(source, [])
            if source in self.left_out:
                steps.append(Step(name, None, info.shape, dtype_name(info), f"left out: {self.left_out[source]}"))
            elif source in self.unmatched:
                steps.append(Step(name, None, info.shape, dtype_name(info), self.unmatched[source], NO_PLACE))
            if source in self.kept:
                operation, why = self.kept[source]
                kept = f"kept aside: {why}" + ("" if operation is AS_IT_IS else f" ({operation.label})")
                steps.append(Step(name, None, operation.shape(info.shape), dtype_name(info), kept))
        steps += from_elsewhere
        for name, tensor in self.extra.items():
            info = TensorInfo(tuple(tensor.shape), tensor.dtype)
            steps.append(Step(name, name, info.shape, dtype_name(info), "as it is, from aside, beside the model's"))
        steps += [Step(None, name, self.targets[name], "", "would stay random", NO_SOURCE) for name in self.missing]
        return PartPlan(self.name, self.class_name, (*steps, *self.further_steps))

    def dtype(self) -> torch.dtype:
        """Return the narrowest dtype that holds every tensor exactly; the configuration's may be out of date."""
        dtypes = [
            self.weights.infos[source].dtype for source, _ in self.origins.values() if source in self.weights.infos
        ]
        dtypes = [dtype for dtype in dtypes if dtype is not None and dtype.is_floating_point]
        return reduce(torch.promote_types, dtypes) if dtypes else torch.get_default_dtype()

    def build(self) -> PreTrainedModel:
        """Return the model with its tensors; those that it lacks are drawn as for a new model."""
        dtype = self.dtype()
        self.config.dtype = dtype
        with torch.device("cpu" if self.missing else "meta"):
            model = self.make_model(self.config).to(dtype)
        state = {target: self._read(target).to(dtype) for target in self.origins}
        model.load_state_dict(state, strict=False, assign=True)
        model.tie_weights()
        return model.eval()

    def tensors_aside(self) -> dict[str, torch.Tensor]:
        """Return what is kept for the way back, under the source's names."""
        return {
            source: operation.apply(self.weights.read(source)).contiguous()
            for source, (operation, _) in self.kept.items()
        }

    def _read(self, target: str) -> torch.Tensor:
        source, operation = self.origins[target]
        return operation.apply(self.weights.read(source) if source in self.weights.infos else torch.empty(0))


def _from_aside(aside: Weights, name: str) -> Operation:
    return Operation("as it is, from aside", lambda shape: aside.infos[name].shape, lambda _: aside.read(name))


__all__ = ["Part"]
