"""Arguments of a pretraining run: those of transformers, and what ELECTRA needs besides."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import is_tensorboard_available

from electra_plus.training.batch_ramp import check_batch_ramp
from electra_plus.training.optimization import OWN_OPTIMIZERS
from electra_plus.training.regimes import make_regime
from electra_plus.training.sharding import refuse_what_fails

OWN_SCHEDULES = ("original",)


@dataclass
class ElectraPlusTrainingArguments(TrainingArguments):
    r"""
    [`~transformers.TrainingArguments`] with what [`ElectraPlusTrainer`] adds.

    `optim` also takes `"original"` (Adam without bias correction, as released) and `"muon"` (Muon for the matrices of the
    layers, AdamW for the rest), `lr_scheduler_type` also `"original"` (warm-up times decay, as released). Warm-up may be a
    fraction of the steps. Logs go to TensorBoard if it is installed (`report_to`). With `lr_scheduler_type="warmup_stable_decay"` the decay takes the last fifth unless
    `lr_scheduler_kwargs` says `num_decay_steps`.

    Args:
        regime (`str`, *optional*, defaults to `"joint"`):
            `"joint"`, `"two_stage"`, `"alternating"`, `"adversarial"` or `"frozen_generator"`; see `electra_plus.training.regimes`.
        regime_kwargs (`dict`, *optional*): Arguments of the regime, such as `{"generator_steps": 2}`.
        generator_learning_rate, generator_weight_decay (`float`, *optional*):
            Of the generator. `None` is the same as for the discriminator.
        generator_max_grad_norm (`float`, *optional*):
            Clip the generator's gradient alone to this norm, and the discriminator's alone to `max_grad_norm`; 0 leaves the
            generator's as it is. `None` clips both as one, as the original does.
        layerwise_lr_decay (`float`, *optional*):
            Factor of the learning rate from each layer to the one below it, in (0, 1]; 0.8 in the paper's fine-tuning of small
            and base models. `None` is the same rate for all.
        layerwise_lr_decay_as_released (`bool`, *optional*, defaults to `False`): With the released code's one factor more.
        initial_train_batch_size (`int`, *optional*):
            Rows in a device's batch of the first step; the batch then grows evenly to `per_device_train_batch_size`. Needs
            `max_steps` and a dataset with a length; the whole training then is one epoch. The learning rate follows its schedule
            as without a ramp. Each size is a new shape for a compiled model. `None` begins with full batches.

            Source: McCandlish et al. 2018, https://arxiv.org/abs/1812.06162 (the batch that pays grows as the loss falls); Smith
            et al. 2018, https://arxiv.org/abs/1711.00489 (growing it instead of lowering the learning rate).
        batch_size_ramp (`float`, *optional*): Fraction of `max_steps` over which the batch grows, in (0, 1].
        peak_flops (`float`, *optional*):
            Floating-point operations a second that the device can do, for the utilisation that is logged. `None` measures a
            matrix product at the start of the training.
    """

    regime: str = field(
        default="joint", metadata={"help": "joint, two_stage, alternating, adversarial, frozen_generator"}
    )
    regime_kwargs: dict[str, Any] | None = field(default=None, metadata={"help": "arguments of the regime"})
    generator_learning_rate: float | None = field(default=None, metadata={"help": "default: learning_rate"})
    generator_weight_decay: float | None = field(default=None, metadata={"help": "default: weight_decay"})
    generator_max_grad_norm: float | None = field(default=None, metadata={"help": "clip the generator alone"})
    layerwise_lr_decay: float | None = field(default=None, metadata={"help": "factor from layer to layer"})
    layerwise_lr_decay_as_released: bool = field(default=False, metadata={"help": "one factor more"})
    initial_train_batch_size: int | None = field(
        default=None, metadata={"help": "rows a device; grows to the full batch"}
    )
    batch_size_ramp: float | None = field(default=None, metadata={"help": "fraction of max_steps"})
    peak_flops: float | None = field(default=None, metadata={"help": "of the device; default: measured"})
    # None: TensorBoard where it is installed
    report_to: None | str | list[str] = field(
        default=None, metadata={"help": "default: TensorBoard if it is installed"}
    )
    # None: where there is an accelerator to copy to
    dataloader_pin_memory: bool | None = field(default=None, metadata={"help": "default: if there is an accelerator"})
    # what `optim` and `lr_scheduler_type` said where transformers has no such name
    own_optimizer: str | None = field(default=None, metadata={"help": "set by optim"})
    own_schedule: str | None = field(default=None, metadata={"help": "set by lr_scheduler_type"})
    # transformers' default hides a diverging run behind the mean of its earlier losses
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "leave NaN and inf out of the logged loss"})

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: all but the token, since `Trainer` pickles its arguments into what it uploads."""
        return {**self.__dict__, "hub_token": None}

    def __post_init__(self):
        if str(self.optim) in OWN_OPTIMIZERS:
            self.own_optimizer, self.optim = str(self.optim), "adamw_torch_fused"
        if str(self.lr_scheduler_type) in OWN_SCHEDULES:
            self.own_schedule, self.lr_scheduler_type = str(self.lr_scheduler_type), "linear"
        if self.dataloader_pin_memory is None:
            self.dataloader_pin_memory = torch.accelerator.is_available()
        if self.report_to is None:
            self.report_to = "tensorboard" if is_tensorboard_available() else "none"
        super().__post_init__()
        if self.fsdp_plugin_args is not None:
            given = self.fsdp_plugin_args
            refuse_what_fails(given["fsdp_version"], given.get("activation_checkpointing", False))
        make_regime(self.regime, self.regime_kwargs)
        check_batch_ramp(self)
        if self.layerwise_lr_decay is not None and not 0 < self.layerwise_lr_decay <= 1:
            raise ValueError(
                f"`layerwise_lr_decay` must be in (0, 1], got {self.layerwise_lr_decay}. The paper has 0.8."
            )
        if self.generator_max_grad_norm is not None and not self.max_grad_norm:
            raise ValueError(
                "`generator_max_grad_norm` needs `max_grad_norm` > 0 as well, got 0: transformers clips nothing then."
            )
        if self.ddp_find_unused_parameters is None and self.regime in ("two_stage", "alternating"):
            self.ddp_find_unused_parameters = True  # a step of one network leaves the other's parameters unused
        for name in ("generator_learning_rate", "generator_weight_decay", "generator_max_grad_norm"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"`{name}` must not be negative, got {value}. Leave it out for the discriminator's.")
