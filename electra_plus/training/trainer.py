"""
The trainer: transformers' own, with regimes, own optimizer groups for the generator, and runs that repeat exactly.

What it does otherwise than `Trainer`:

- Every micro-batch has a number that counts through the whole run and over all processes. Masks, draws and dropout follow from
  `seed` and that number alone, so a resumed run, a run with evaluations in between, and a run on several processes with the same
  batches give the same numbers as an uninterrupted one on one process.
- Batches may grow from step to step; the whole training is one epoch then.
- Checkpoints are written aside and moved to their place when complete, with checksums; resuming takes the last one that is whole.
- Logs hold what the original logs, and speed; a run that goes wrong says so.
- What it pushes has the model's code and a card of the training.
"""

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.trainer_utils import HubStrategy, rotate_checkpoints
from transformers.utils import logging

from electra_plus.data.masking import DataCollatorForReplacedTokenDetection, hashed_seed
from electra_plus.metrics.detection import compute_pretraining_metrics
from electra_plus.models.modeling_electra_plus_generator import ElectraPlusForMaskedLM
from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining
from electra_plus.optim.groups import GENERATOR
from electra_plus.training import checkpoints, sharding
from electra_plus.training.arguments import ElectraPlusTrainingArguments
from electra_plus.training.batch_ramp import BatchRampSampler, batch_ramp_loader
from electra_plus.training.callbacks import MaskingStepCallback
from electra_plus.training.figures import PretrainingFigures
from electra_plus.training.flops import measured_peak_flops, training_flops
from electra_plus.training.health import TrainingHealth, refuse_broken_weights
from electra_plus.training.optimization import (
    make_groups,
    own_optimizer,
    own_schedule,
    refuse_groups,
    takes_groups,
)
from electra_plus.training.publishing import PublishingTrainer
from electra_plus.training.regimes import make_regime

logger = logging.get_logger(__name__)

PROGRESS_NAME = "electra_plus_progress"  # one file a process in a checkpoint: what the next log is made of


class ElectraPlusTrainer(PublishingTrainer):
    r"""
    [`~transformers.Trainer`] for pretraining, with [`ElectraPlusTrainingArguments`].

    Takes the arguments of `Trainer`. Without `data_collator` the rows of generator and discriminator, or of a masked LM, are
    masked by [`DataCollatorForReplacedTokenDetection`] with the tokenizer in `processing_class`. In the regime `"joint"` it
    trains any other head as well, with the data collator that `Trainer` would take.

    Raises:
        ValueError: The regime does not fit the model.

    Example:

    ```python
    >>> import tempfile
    >>> from electra_plus import ElectraPlusConfig, ElectraPlusForPreTraining, ElectraPlusTrainer, ElectraPlusTrainingArguments
    >>> from electra_plus.data.tokenization import train_wordpiece_tokenizer
    >>> tokenizer = train_wordpiece_tokenizer(["a cat sat on a mat"] * 9, vocab_size=60)
    >>> config = ElectraPlusConfig.preset("modern-tiny", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    >>> arguments = ElectraPlusTrainingArguments(
    ...     tempfile.mkdtemp(), max_steps=2, report_to="none", disable_tqdm=True, use_cpu=True, save_strategy="no"
    ... )
    >>> trainer = ElectraPlusTrainer(
    ...     ElectraPlusForPreTraining(config), arguments, train_dataset=[tokenizer("a cat sat")] * 16, processing_class=tokenizer
    ... )
    >>> trainer.train().global_step
    {'train_runtime': ...
    2

    ```
    """

    args: ElectraPlusTrainingArguments

    def __init__(self, model=None, args=None, data_collator=None, **kwargs):
        if args is not None and not isinstance(args, ElectraPlusTrainingArguments):
            raise TypeError(
                f"`args` must be ElectraPlusTrainingArguments, got {type(args).__name__}. It takes the same names and more."
            )
        args = args or ElectraPlusTrainingArguments("trainer_output")
        joint = isinstance(model, ElectraPlusForPreTraining)
        if joint and kwargs.get("eval_dataset") is not None:
            kwargs.setdefault("compute_metrics", compute_pretraining_metrics)
        cached = getattr(getattr(model, "config", None), "use_cache", None)
        super().__init__(model=model, args=args, data_collator=data_collator, **kwargs)
        if cached is not None:  # the stock trainer turns it off, and what is saved would then write without a cache
            self.model.config.use_cache = cached
        self.regime = make_regime(args.regime, args.regime_kwargs)
        self._is_joint = isinstance(self.model, ElectraPlusForPreTraining)
        self._pretrains = self._is_joint or isinstance(self.model, ElectraPlusForMaskedLM)
        tokenizer = kwargs.get("processing_class")
        # a stock masked LM too; labels of any other head must come through as they are
        masks = self._pretrains or type(self.model).__name__.endswith("ForMaskedLM")
        if data_collator is None and tokenizer is not None and masks:
            self.data_collator = DataCollatorForReplacedTokenDetection(tokenizer, seed=args.seed)
        if self._is_joint:
            self.regime.prepare(self.model)
        elif args.regime != "joint":
            raise ValueError(
                f"`regime={args.regime!r}` needs generator and discriminator, got {type(self.model).__name__}. "
                "Train an ElectraPlusForPreTraining, or leave `regime` at 'joint'."
            )
        if isinstance(self.data_collator, DataCollatorForReplacedTokenDetection):
            self.add_callback(MaskingStepCallback(self.data_collator))
        self.figures = PretrainingFigures()
        self.health = TrainingHealth()
        self._position = (-1, 0)  # optimizer step and micro-batches seen in it
        self._first_step: int | None = None  # of this call of `train`
        self._generator_grad_norm: torch.Tensor | None = None
        self._batch_ramp: BatchRampSampler | None = None
        self._log_flops, self._peak_flops = 0.0, args.peak_flops
        self._aside: str | None = None  # where a checkpoint is being written

    # ---- several processes ----

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, with FSDP on processors too."""
        super().create_accelerator_and_postprocess()
        if sharding.turn_on_for_cpu(self.accelerator, self.args.fsdp_plugin_args):
            self.is_fsdp_enabled = True
        if self.is_fsdp_enabled:  # asked for by the launcher: the arguments have been checked
            plugin = self.accelerator.state.fsdp_plugin
            sharding.refuse_what_fails(plugin.fsdp_version, plugin.activation_checkpointing)

    def _prepare_for_training(self, *args, **kwargs):
        if not self.is_fsdp_enabled:
            return super()._prepare_for_training(*args, **kwargs)
        with sharding.embeddings_in_the_root(self.model, self.accelerator.state.fsdp_plugin):
            return super()._prepare_for_training(*args, **kwargs)

    # ---- optimizer ----

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimizer, with groups of their own for the generator and for layers where the arguments ask for it."""
        if self.optimizer is not None:
            return self.optimizer
        model = self.model if model is None else model
        found = own_optimizer(self.args) or self.optimizer_cls_and_kwargs
        optimizer_class, kwargs = found or self.get_optimizer_cls_and_kwargs(self.args, model)
        if not takes_groups(optimizer_class, kwargs):
            refuse_groups(self.args)
            return super().create_optimizer(model)
        groups = make_groups(model, self.args, self.get_decay_parameter_names(model), self._is_joint)
        self.optimizer = optimizer_class(groups, **kwargs)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):
        """Make the learning rate schedule."""
        if self.lr_scheduler is None:
            self.lr_scheduler = own_schedule(self.args, optimizer or self.optimizer, num_training_steps)
            self._created_lr_scheduler = self.lr_scheduler is not None
        return super().create_scheduler(num_training_steps, optimizer)

    def _clip_grad_norm(self, model: nn.Module):
        if self.args.generator_max_grad_norm is None:
            return super()._clip_grad_norm(model)
        self.accelerator.unscale_gradients()
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for group in self.optimizer.param_groups:
            groups[group["network"] == GENERATOR].extend(group["params"])
        norm = torch.nn.utils.clip_grad_norm_(groups[False], self.args.max_grad_norm)
        limit = self.args.generator_max_grad_norm or float("inf")
        self._generator_grad_norm = sharding.whole(torch.nn.utils.clip_grad_norm_(groups[True], limit))
        return sharding.whole(norm)

    # ---- steps ----

    def get_train_dataloader(self):
        """Return the batches to train on, which grow if the arguments ask for it."""
        if self.args.initial_train_batch_size is None or self.train_dataset is None:
            return super().get_train_dataloader()
        collator = self._get_collator_with_removed_columns(self.data_collator, description="Training")
        loader = batch_ramp_loader(self.args, self.train_dataset, collator)
        self._batch_ramp = loader.batch_sampler
        return self.accelerator.prepare(loader)

    def set_initial_training_values(self, args, dataloader):
        """Return what `Trainer` counts before it starts, with the rows that a ramp of the batch takes."""
        values = super().set_initial_training_values(args, dataloader)
        num_rows = values[3] if self._batch_ramp is None else self._batch_ramp.rows_before(args.max_steps)
        return (*values[:3], num_rows, *values[4:])

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch=None) -> torch.Tensor:
        """Take a micro-batch, with the randomness that belongs to its number, as the regime wants it."""
        step = self.state.global_step
        micro = self._position[1] + 1 if self._position[0] == step else 0
        self._position = (step, micro)
        if self._first_step is None:
            self._first_step = step
        torch.manual_seed(self._seed_of(step, micro))
        if self._is_joint:
            if micro == 0:
                with torch.no_grad():
                    self.regime.begin_step(self.accelerator.unwrap_model(model), step, self.state.max_steps)
            inputs = {**inputs, **self.regime.inputs(step, self.state.max_steps)}
        return super().training_step(model, inputs, num_items_in_batch)

    def _run_epoch(self, **kwargs) -> None:
        if self.state.global_step >= self.state.max_steps:  # `Trainer` would take one step more than there are
            self._load_rng_state(kwargs["resume_from_checkpoint"])
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def _seed_of(self, step: int, micro: int) -> int:
        number = (step * self.args.gradient_accumulation_steps + micro) * self.args.world_size
        return hashed_seed(f"{self.args.seed},{number + self.args.process_index},step")

    def floating_point_ops(self, inputs: dict[str, Any]) -> float:
        """Return the operations of a training step, see [`training_flops`]; for other models as `Trainer` does."""
        if not self._pretrains or inputs.get("labels") is None or "input_ids" not in inputs:
            return super().floating_point_ops(inputs)
        networks = self.regime.inputs(self.state.global_step, self.state.max_steps).get("networks", "both")
        num_rows, row_length = inputs["input_ids"].shape
        rate = 0.15  # counting the masked slots would wait for the device
        if isinstance(self.data_collator, DataCollatorForReplacedTokenDetection):
            rate = self.data_collator.mask_rate_at(self.state.global_step * self.args.gradient_accumulation_steps)
        num_masked = round(rate * num_rows * row_length)
        flops = training_flops(self.model.config, num_rows * row_length, row_length, num_masked, networks)
        self._log_flops += flops
        return flops

    # ---- what is logged ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the figures of the steps since the last log."""
        if "loss" in logs and self.is_in_train:
            seconds = self.figures.seconds
            logs.update(self.figures.take())
            if self._generator_grad_norm is not None:
                logs["generator_grad_norm"] = self._generator_grad_norm.item()
            if self._log_flops and self._peak_flops:
                logs["flops_utilization"] = round(self._log_flops / seconds / self._peak_flops, 4)
            self._log_flops = 0.0
            step = self.state.global_step
            first, now, last = map(self._work_before, (self._first_step or 0, step, self.state.max_steps))
            if now > first and start_time is not None:
                logs["eta_seconds"] = round((last - now) * self.figures.seconds_since_start / (now - first))
            if self._batch_ramp is not None:
                logs["rows_per_step"] = self._batch_ramp.rows_per_step(step - 1)
            if getattr(self.data_collator, "length_ramp", None) is not None:
                last_batch = step * self.args.gradient_accumulation_steps - 1
                logs["row_length"] = self.data_collator.length_ramp.row_length_at(last_batch)
            for warning in self.health.check(logs, self.state.global_step, self.state.max_steps):
                logger.warning(warning)
        super().log(logs, start_time)

    def _work_before(self, step: int) -> int:
        """Return the steps before this one, or the rows in them where steps differ: what time goes with."""
        return step if self._batch_ramp is None else self._batch_ramp.rows_before(step)

    def _inner_training_loop(self, *args, **kwargs):
        if self._peak_flops is None and self._pretrains:
            dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else torch.float32
            self._peak_flops = measured_peak_flops(self.args.device, dtype)
        self._position, self._first_step = (-1, 0), None
        self.figures.start()
        self.figures.attach(self.model)
        try:
            return super()._inner_training_loop(*args, **kwargs)
        finally:
            self.figures.detach()

    # ---- evaluation ----

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Evaluate, always with the same masks and draws, and without a trace in the training that goes on afterwards."""
        device = self.args.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], enabled=True):
            torch.manual_seed(self.args.seed)
            return super().evaluate(*args, **kwargs)

    def get_eval_dataloader(self, eval_dataset=None):
        """Return the data of an evaluation, whose masks are numbered from 0 and do not advance those of the training."""
        of_training = self.data_collator
        if isinstance(of_training, DataCollatorForReplacedTokenDetection):
            self.data_collator = of_training.for_evaluation()
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = of_training

    # ---- checkpoints ----

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        """
        Train.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                A checkpoint, or `True` for the last one in `output_dir` that is as it was written.

        Raises:
            FileNotFoundError: `True`, and there is none.
            ValueError: The checkpoint given has files that are missing or have changed.
        """
        output_dir = Path(self.args.output_dir)
        if resume_from_checkpoint is True:
            resume_from_checkpoint = checkpoints.last_good_checkpoint(output_dir)
            if resume_from_checkpoint is None:
                raise FileNotFoundError(
                    f"`resume_from_checkpoint=True` found no whole checkpoint in `{output_dir}`. Start without it."
                )
        elif resume_from_checkpoint:
            manifest = Path(resume_from_checkpoint, checkpoints.MANIFEST)
            wrong = checkpoints.what_is_wrong(resume_from_checkpoint) if manifest.exists() else None
            if wrong is not None:
                raise ValueError(
                    f"`resume_from_checkpoint` ({str(resume_from_checkpoint)!r}) cannot be used: {wrong}. Take an earlier one."
                )
        if self.args.should_save:
            shutil.rmtree(output_dir / checkpoints.UNFINISHED, ignore_errors=True)
        return super().train(
            resume_from_checkpoint=str(resume_from_checkpoint) if resume_from_checkpoint else None, **kwargs
        )

    def _get_output_dir(self, trial) -> str:
        return self._aside or super()._get_output_dir(trial)

    @contextmanager
    def _writing_aside(self, run_dir: Path):
        self._aside = str(run_dir / checkpoints.UNFINISHED)
        try:
            yield Path(self._aside)
        finally:
            self._aside = None

    def _save_checkpoint(self, model: nn.Module, trial) -> None:
        run_dir = Path(self._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        sharding.reshard(self.model)
        refuse_broken_weights(self.model, self.accelerator, name)
        try:
            with self._writing_aside(run_dir) as aside:
                super()._save_checkpoint(model, trial)
                self._save_progress(aside / name)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                best = self.state.best_global_step
                if best and (best == self.state.global_step or (run_dir / f"checkpoint-{best}").is_dir()):
                    self.state.best_model_checkpoint = str(run_dir / f"checkpoint-{best}")
                    self.state.save_to_json(str(aside / name / "trainer_state.json"))
                if self.args.push_to_hub and self.args.hub_strategy != HubStrategy.END:
                    self._add_code(aside / name, run_dir)
                checkpoints.write_manifest(aside / name)
                checkpoints.publish(aside / name, run_dir / name)
                rotate_checkpoints(
                    output_dir=str(run_dir),
                    save_total_limit=self.args.save_total_limit,
                    best_model_checkpoint=self.state.best_model_checkpoint,
                )
        except Exception as error:  # a full disk raises another type in each library that writes
            shutil.rmtree(run_dir / checkpoints.UNFINISHED, ignore_errors=True)
            raise OSError(
                f"`{run_dir / name}` could not be written ({' '.join(str(error).split())}). Earlier checkpoints are intact: "
                "make room, then start again and resume."
            ) from error
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(run_dir / name))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._aside is None:  # else the checkpoint is not in its place yet
            super()._push_from_checkpoint(checkpoint_folder)

    def _save_progress(self, folder: Path) -> None:
        """Save what the next log needs from the steps before this checkpoint."""
        progress = {
            "loss": self._tr_loss.cpu(),
            "last_logged": self._globalstep_last_logged,
            "total_loss": self._total_loss_scalar,
            "figures": self.figures.state(),
        }
        torch.save(progress, folder / f"{PROGRESS_NAME}_{self.args.process_index}.pt")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        # the one place that `Trainer` visits once after a resume, with all of its own counters set
        file = Path(checkpoint or "", f"{PROGRESS_NAME}_{self.args.process_index}.pt")
        if checkpoint is not None and file.is_file():
            progress = torch.load(file, weights_only=True)
            self._tr_loss += progress["loss"].to(self._tr_loss.device)
            self._globalstep_last_logged = progress["last_logged"]
            self._total_loss_scalar = progress["total_loss"]
            self.figures.load_state(progress["figures"], self.args.device)

    def _issue_warnings_after_load(self, load_result) -> None:
        tied = self.model.all_tied_weights_keys  # saved once
        load_result.missing_keys[:] = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if state_dict is not None:  # gathered from shards, where what is tied comes as copies
            tied = self.model.all_tied_weights_keys
            state_dict = {name: weight for name, weight in state_dict.items() if name not in tied}
        super()._save(output_dir, state_dict)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model, configuration and tokenizer; files of an earlier model are replaced only by complete ones."""
        if _internal_call or self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)
            return
        final = Path(output_dir or self.args.output_dir)
        aside = final / checkpoints.UNFINISHED / "model"
        sharding.reshard(self.model)
        if self.is_fsdp_enabled:  # whole, also where checkpoints are sharded: `Trainer` would write nothing then
            self._save(str(aside), state_dict=self.accelerator.get_state_dict(self.model))
        else:
            super().save_model(str(aside), _internal_call=True)
        if self.args.should_save:
            for file in sorted(aside.iterdir()):
                file.replace(final / file.name)
            shutil.rmtree(final / checkpoints.UNFINISHED, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)
