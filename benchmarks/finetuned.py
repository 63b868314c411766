"""One way to fine-tune and score a model, for the benchmarks that compare checkpoints."""

import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import transformers


def finetuned(
    model: torch.nn.Module,
    collate: Callable,
    train: Sequence[dict],
    validation: Sequence[dict],
    seed: int,
    **arguments,
) -> tuple[np.ndarray, np.ndarray, float]:
    """
    Fine-tune with the stock `Trainer`, rows of like length together.

    Args:
        arguments: Of `transformers.TrainingArguments`: epochs, learning rate, rows in a step.

    Returns:
        `tuple`: predicted classes and labels of the validation rows, and the seconds that training took.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            folder,
            warmup_steps=0.1,
            weight_decay=0.01,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            report_to="none",
            seed=seed,
            dataloader_pin_memory=torch.accelerator.is_available(),
            **arguments,
        )
        trainer = transformers.Trainer(model=model, args=settings, train_dataset=train, data_collator=collate)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        found = trainer.predict(validation)
    logits = found.predictions[0] if isinstance(found.predictions, tuple) else found.predictions
    return logits.argmax(-1), found.label_ids, seconds
