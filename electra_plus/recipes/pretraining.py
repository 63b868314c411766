"""Joint pretraining from text files with the stock `Trainer`."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from electra_plus.data.corpus import TokenRows, pack_rows, read_documents
from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
from electra_plus.data.tokenization import load_tokenizer, train_wordpiece_tokenizer
from electra_plus.metrics.detection import compute_pretraining_metrics
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.recipes.settings import training_arguments
from electra_plus.training.callbacks import MaskingStepCallback, PretrainingMetricsCallback

logger = logging.getLogger(__name__)

# The paper's values for small models (table 6), as far as the stock Trainer has them: its AdamW corrects the bias, and
# its schedule warms up first and decays afterwards. Steps are those of a short run; the paper's small model took 1M.
DEFAULT_TRAINING = {
    "per_device_train_batch_size": 128,
    "per_device_eval_batch_size": 64,
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "adam_epsilon": 1e-6,
    "warmup_steps": 0.05,
    "max_steps": 10_000,
    "logging_steps": 50,
    "eval_strategy": "steps",
    "eval_steps": 500,
    "save_steps": 1000,
    "save_total_limit": 2,
    "report_to": "none",
}


@dataclass
class PretrainingSettings:
    """
    What `electra-plus pretrain` needs to know.

    Args:
        train_files (`list[str]`): Text files or folders: a paragraph a line, a blank line between documents.
        output_dir (`str`): Where checkpoints and the final model go.
        tokenizer (`str`, *optional*): Folder, Hub name or BERT `vocab.txt`. `None` trains one on `train_files`.
        vocab_size (`int`, *optional*, defaults to 8192): Of the tokenizer that is trained.
        lowercase (`bool`, *optional*, defaults to `True`): Of the tokenizer that is trained.
        preset (`str`, *optional*, defaults to `"modern-tiny"`): A name for `ElectraPlusConfig.preset`.
        model (`dict`, *optional*): Fields of `ElectraPlusConfig` to change, such as `discriminator_loss_weight: 50`.
        row_length (`int`, *optional*, defaults to 128): Tokens in a row.
        mask_rate (`float`, *optional*, defaults to 0.15): Fraction of tokens to mask.
        whole_word (`bool`, *optional*, defaults to `False`): Mask whole words.
        validation_files (`list[str]`, *optional*): Held-out text. `None` holds out every hundredth row.
        seed (`int`, *optional*, defaults to 0): Of weights, order and masks.
        training (`dict`, *optional*): Arguments of `transformers.TrainingArguments` under their own names.
    """

    train_files: list[str]
    output_dir: str
    tokenizer: str | None = None
    vocab_size: int = 8192
    lowercase: bool = True
    preset: str = "modern-tiny"
    model: dict[str, Any] = field(default_factory=dict)
    row_length: int = 128
    mask_rate: float = 0.15
    whole_word: bool = False
    validation_files: list[str] | None = None
    seed: int = 0
    training: dict[str, Any] = field(default_factory=dict)


def pretrain(settings: PretrainingSettings, resume: bool = False) -> dict[str, float]:
    """
    Pretrain generator and discriminator jointly, evaluate on held-out rows, save the model and its tokenizer.

    Args:
        settings ([`PretrainingSettings`]): The run.
        resume (`bool`, *optional*, defaults to `False`): Go on from the last checkpoint in `output_dir`.

    Returns:
        `dict`: held-out figures, as logged.

    Raises:
        FileNotFoundError: An input file does not exist, or there is no checkpoint to resume from.
        ValueError: Settings contradict each other.
    """
    from transformers import Trainer, set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining

    output_dir = Path(settings.output_dir)
    checkpoint = None
    if resume:
        checkpoint = get_last_checkpoint(str(output_dir)) if output_dir.is_dir() else None
        if checkpoint is None:
            raise FileNotFoundError(f"`--resume` found no checkpoint in `{output_dir}`. Start without it.")
    arguments = training_arguments(settings.output_dir, {**DEFAULT_TRAINING, "seed": settings.seed}, settings.training)
    # the model first: a wrong field is said before an hour of tokenising
    probe = {"vocab_size": settings.vocab_size, **settings.model}
    ElectraPlusConfig.preset(settings.preset, **probe)

    documents = list(read_documents(settings.train_files))
    if settings.tokenizer is not None:
        tokenizer = load_tokenizer(settings.tokenizer)
    elif checkpoint is not None:
        tokenizer = load_tokenizer(output_dir)
    else:
        tokenizer = train_wordpiece_tokenizer(
            (paragraph for document in documents for paragraph in document), settings.vocab_size, settings.lowercase
        )
    tokenizer.save_pretrained(output_dir)
    rows = pack_rows(documents, tokenizer, settings.row_length)
    if settings.validation_files is not None:
        held_out = pack_rows(read_documents(settings.validation_files), tokenizer, settings.row_length)
    else:
        rows, held_out = hold_out(rows)
    logger.info("%d rows of up to %d tokens, %d held out", len(rows), settings.row_length, len(held_out))

    set_seed(settings.seed)
    fields = {**settings.model, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    model = ElectraPlusForPreTraining(ElectraPlusConfig.preset(settings.preset, **fields))
    collator = DataCollatorForReplacedTokenDetection(
        tokenizer, mask_rate=settings.mask_rate, whole_word=settings.whole_word, seed=settings.seed
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=held_out,
        data_collator=collator,
        processing_class=tokenizer,
        compute_metrics=compute_pretraining_metrics,
        callbacks=[PretrainingMetricsCallback(), MaskingStepCallback(collator)],
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    figures = trainer.evaluate()
    trainer.save_metrics("eval", figures)
    return figures


def hold_out(rows: TokenRows, every: int = 100) -> tuple[TokenRows, TokenRows]:
    """Split rows into those for training and every hundredth, at least one, for evaluation."""
    if len(rows) < 2:
        raise ValueError(
            f"`train_files` gives {len(rows)} row, but training and evaluation need one each. Give more text."
        )
    every = min(every, len(rows))
    kept = [row for index, row in enumerate(rows.rows) if (index + 1) % every]
    return TokenRows(kept), TokenRows(rows.rows[every - 1 :: every])
