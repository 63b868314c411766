"""Fine-tuning for text classification with the stock `Trainer`."""

import logging
from dataclasses import dataclass, field
from typing import Any

from electra_plus.data.examples import hold_out, label_names, read_examples
from electra_plus.recipes.settings import training_arguments

logger = logging.getLogger(__name__)

# ELECTRA's values for small models (paper, table 7), without its layer-wise decay.
DEFAULT_TRAINING = {
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "learning_rate": 3e-4,
    "num_train_epochs": 3,
    "warmup_steps": 0.1,
    "logging_steps": 50,
    "eval_strategy": "epoch",
    "save_strategy": "no",
    "report_to": "none",
}
TEXT_COLUMNS = ("text", "sentence", "review", "content", "sentence1", "premise", "question1")
PAIR_COLUMNS = ("text_pair", "sentence2", "hypothesis", "question2")
LABEL_COLUMNS = ("label", "labels", "class", "target")


@dataclass
class FineTuningSettings:
    """
    What `electra-plus finetune` needs to know.

    Args:
        model (`str`): Folder or Hub name of a checkpoint: ElectraPlus (joint or not), stock ELECTRA or stock BERT.
        train_file (`str`): What [`read_examples`] reads: `.jsonl`, `.csv` and the like, one example a row.
        output_dir (`str`): Where the model goes.
        validation_file (`str`, *optional*): For the accuracy. `None` holds out a tenth of the rows, drawn at random.
        text_column, pair_column, label_column (`str`, *optional*): `None` guesses by usual names and says so.
        max_length (`int`, *optional*, defaults to 128): Longer texts are cut, in tokens.
        model_fields (`dict`, *optional*): Fields of the configuration to change, such as `classifier_pooling: mean`.
        seed (`int`, *optional*, defaults to 0): Of the new head, the order and dropout.
        training (`dict`, *optional*): Arguments of `transformers.TrainingArguments` under their own names.
    """

    model: str
    train_file: str
    output_dir: str
    validation_file: str | None = None
    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    max_length: int = 128
    model_fields: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    training: dict[str, Any] = field(default_factory=dict)


def choose_column(rows: list[dict], given: str | None, usual: tuple[str, ...], what: str, required: bool = True):
    """Return the column the user named, or the first usual name the rows have."""
    present = list(rows[0])
    if given is not None:
        if given not in present:
            raise ValueError(f"`{what}_column` is {given!r}, but the rows have {present}.")
        return given
    found = next((name for name in usual if name in present), None)
    if found is None and required:
        raise ValueError(f"No {what} column found in {present}. Name it: `--{what}-column`.")
    return found


def finetune(settings: FineTuningSettings) -> dict[str, float]:
    """
    Fine-tune a classifier and save it with its tokenizer and its label names, ready for `pipeline("text-classification")`.

    Args:
        settings ([`FineTuningSettings`]): The run.

    Returns:
        `dict`: accuracy and loss on the validation rows, as logged.
    """
    import numpy as np
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

    from electra_plus.models.modeling_electra_plus_heads import ElectraPlusForSequenceClassification

    train_rows = read_examples(settings.train_file)
    if settings.validation_file is not None:
        validation_rows = read_examples(settings.validation_file)
    else:
        train_rows, validation_rows = hold_out(train_rows)
    text = choose_column(train_rows, settings.text_column, TEXT_COLUMNS, "text")
    pair = choose_column(train_rows, settings.pair_column, PAIR_COLUMNS, "pair", required=False)
    label = choose_column(train_rows, settings.label_column, LABEL_COLUMNS, "label")
    logger.warning("columns: text %r, pair %r, label %r", text, pair, label)
    names = label_names(train_rows, label)
    if len(names) < 2:
        raise ValueError(f"`{label}` has one value ({names}) in `train_file`; classification needs two.")
    ids = {name: index for index, name in enumerate(names)}
    unseen = sorted({str(row[label]) for row in validation_rows} - set(ids))
    if unseen:
        raise ValueError(f"`validation_file` has labels {unseen} that `train_file` lacks.")

    arguments = training_arguments(
        TrainingArguments,
        settings.output_dir,
        {**DEFAULT_TRAINING, "seed": settings.seed},
        settings.training,
    )
    set_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    model = ElectraPlusForSequenceClassification.from_pretrained(
        settings.model, num_labels=len(names), id2label=dict(enumerate(names)), label2id=ids, **settings.model_fields
    )

    def encode(rows):
        texts = [[str(row[column]) for row in rows] for column in (text, pair) if column is not None]
        encoded = tokenizer(*texts, truncation=True, max_length=settings.max_length)
        return [
            {**{name: values[index] for name, values in encoded.items()}, "labels": ids[str(row[label])]}
            for index, row in enumerate(rows)
        ]

    def accuracy(prediction):
        logits = prediction.predictions
        return {"accuracy": float((np.argmax(logits, axis=-1) == prediction.label_ids).mean())}

    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encode(train_rows),
        eval_dataset=encode(validation_rows),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=accuracy,
    )
    trainer.train()
    figures = trainer.evaluate()
    trainer.save_model()
    trainer.save_metrics("eval", figures)
    return figures
