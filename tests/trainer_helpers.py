"""A small pretraining run, as the tests of the trainer want it."""

import torch
from model_helpers import joint_config

from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusForPreTraining,
    ElectraPlusTrainer,
    ElectraPlusTrainingArguments,
)
from electra_plus.data.length_ramp import LengthRamp

STOCK_ARGUMENTS = {
    "max_steps": 4,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}
# the speed is not measured: no test waits for it
ARGUMENTS = {**STOCK_ARGUMENTS, "peak_flops": 1e11, "seed": 1}


def make_trainer(
    output_dir, tokenizer, rows, model=None, eval_rows=None, length_ramp=None, **arguments
) -> ElectraPlusTrainer:
    """Return a trainer of a joint model with dropout; `model` may be fields of its configuration, `length_ramp` numbers."""
    if model is None or isinstance(model, dict):
        torch.manual_seed(0)
        fields = {"hidden_dropout_prob": 0.1, "generator": {"hidden_dropout_prob": 0.1}, **(model or {})}
        model = ElectraPlusForPreTraining(joint_config("modern", **fields))
    return ElectraPlusTrainer(
        model=model,
        args=ElectraPlusTrainingArguments(str(output_dir), **{**ARGUMENTS, **arguments}),
        train_dataset=rows,
        eval_dataset=eval_rows,
        data_collator=DataCollatorForReplacedTokenDetection(
            tokenizer, seed=3, length_ramp=length_ramp and LengthRamp(*length_ramp)
        ),
        processing_class=tokenizer,
    )


def losses(trainer) -> list[float]:
    """Return the training losses that were logged."""
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def weights(trainer) -> dict[str, torch.Tensor]:
    """Return a copy of all parameters; a table that is a sum of others is written only when it is needed."""
    if isinstance(trainer.model, ElectraPlusForPreTraining):
        trainer.model.fold_embeddings()
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
