"""Pretraining from text files or a prepared dataset."""

import logging
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainingArguments

from electra_plus.data.corpus import TokenRows, pack_rows, read_documents
from electra_plus.data.length_ramp import LengthRamp
from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
from electra_plus.data.prepared import load_prepared
from electra_plus.data.row_rules import count_unknown
from electra_plus.data.tokenization import load_tokenizer, train_wordpiece_tokenizer
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.recipes.checkpoint_tokenizers import refuse_another_vocabulary, tokenizer_beside
from electra_plus.recipes.preparation import warn_of_unknown
from electra_plus.recipes.settings import keep_settings, same_run, training_arguments

logger = logging.getLogger(__name__)

# The paper's values for small models (table 6), with AdamW as torch has it and a schedule that warms up first and decays
# afterwards; `optim: original` and `lr_scheduler_type: original` do as the released code does. Steps are those of a short run; the
# paper's small model took 1M.
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
}

# What a preset wants otherwise, as measured (docs/pretraining_experiments.md): a rate that suits a masked LM is too high for a
# detector, which then learns nothing, so each network has its own rate, and its gradient is clipped alone.
PRESET_TRAINING = {
    "modern-tiny": {
        "learning_rate": 1e-3,
        "generator_learning_rate": 4e-3,
        "generator_max_grad_norm": 1.0,
        "adam_beta2": 0.98,
    },
}

# Processors' instructions for matrix products in bfloat16. Without them bfloat16 is slower than float32.
FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")

SETTINGS_FILE = "pretraining.json"  # beside the checkpoints: what the run was started with
# Of `training`: what a run that goes on may change without changing the result.
WITHOUT_EFFECT = {
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "disable_tqdm", "eval_steps",
    "eval_strategy", "logging_first_step", "logging_steps", "logging_strategy", "log_level", "peak_flops",
    "per_device_eval_batch_size", "report_to", "run_name", "save_steps", "save_strategy", "save_total_limit",
}  # fmt: skip


@dataclass
class PretrainingSettings:
    """
    What `electra-plus pretrain` needs to know.

    Args:
        output_dir (`str`): Where checkpoints and the final model go.
        dataset (`str`, *optional*):
            Folder that `electra-plus prepare` wrote, for a corpus that is larger than memory or used more than once. It brings
            tokenizer, rows and held-out rows.
        train_files (`list[str]`, *optional*):
            Instead of `dataset`: text files or folders, a paragraph a line, a blank line between documents.
        tokenizer (`str`, *optional*):
            Folder, Hub name or BERT `vocab.txt`. `None` takes that of `discriminator` or `generator`, or trains one on
            `train_files`.
        vocab_size (`int`, *optional*, defaults to 8192): Of the tokenizer that is trained.
        lowercase (`bool`, *optional*, defaults to `True`): Of the tokenizer that is trained.
        preset (`str`, *optional*, defaults to `"modern-tiny"`): A name for `ElectraPlusConfig.preset`, for new networks.
        discriminator (`str`, *optional*):
            Folder or Hub name to start from: a joint checkpoint, or with `generator` an ELECTRA or BERT. `None` starts anew.
        generator (`str`, *optional*): Folder or Hub name of any masked LM. `None` takes the preset's or the joint checkpoint's.
        model (`dict`, *optional*): Fields of `ElectraPlusConfig` to change, such as `discriminator_loss_weight: 50`.
        row_length (`int`, *optional*, defaults to 128): Tokens in a row.
        mask_rate (`float`, *optional*, defaults to 0.15): Fraction of tokens to mask.
        final_mask_rate (`float`, *optional*): What it becomes, evenly until the last step. `None` keeps it.
        whole_word (`bool`, *optional*, defaults to `False`): Mask whole words.
        initial_row_length (`int`, *optional*):
            Tokens of rows at first, as many in a batch: `row_length` (a dataset's own, if that is given) halved once or more.
            `None` begins with whole rows.
        length_ramp (`float`, *optional*): Fraction of the training over which rows double until they are whole, in (0, 1].
        validation_files (`list[str]`, *optional*): Held-out text. `None` holds out every hundredth row.
        seed (`int`, *optional*, defaults to 0): Of weights, order and masks.
        training (`dict`, *optional*):
            Arguments of [`ElectraPlusTrainingArguments`]: those of `transformers.TrainingArguments`, and `regime`,
            `generator_learning_rate`, `initial_train_batch_size` and so on.
    """

    output_dir: str
    dataset: str | None = None
    train_files: list[str] | None = None
    tokenizer: str | None = None
    vocab_size: int = 8192
    lowercase: bool = True
    preset: str = "modern-tiny"
    discriminator: str | None = None
    generator: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    row_length: int = 128
    mask_rate: float = 0.15
    final_mask_rate: float | None = None
    whole_word: bool = False
    initial_row_length: int | None = None
    length_ramp: float | None = None
    validation_files: list[str] | None = None
    seed: int = 0
    training: dict[str, Any] = field(default_factory=dict)


def pretrain(settings: PretrainingSettings, resume: bool = False, restart: bool = False) -> dict[str, float]:
    """
    Pretrain generator and discriminator, evaluate on held-out rows, save the model and its tokenizer.

    Started again with the same settings, it goes on from the last whole checkpoint in `output_dir`, however the run before
    ended, and ends as if it had never been interrupted.

    Args:
        settings ([`PretrainingSettings`]): The run.
        resume (`bool`, *optional*, defaults to `False`):
            Insist on a checkpoint, and go on from it even if settings have changed since, where the model allows it.
        restart (`bool`, *optional*, defaults to `False`): Delete the checkpoints in `output_dir` and begin anew.

    Returns:
        `dict`: held-out figures, as logged.

    Raises:
        FileNotFoundError: An input file does not exist, or there is no checkpoint to resume from.
        ValueError: Settings contradict each other, or `output_dir` holds a run with others.
    """
    import torch
    from transformers import set_seed

    from electra_plus.hub.callback import write_card
    from electra_plus.hub.records import Dataset, public_name
    from electra_plus.training.arguments import ElectraPlusTrainingArguments
    from electra_plus.training.checkpoints import checkpoint_folders
    from electra_plus.training.trainer import ElectraPlusTrainer

    output_dir = Path(settings.output_dir)
    defaults = {**DEFAULT_TRAINING, **PRESET_TRAINING.get(settings.preset, {}), "seed": settings.seed}
    defaults["use_cpu"] = not torch.accelerator.is_available()  # transformers wants to be told, for bfloat16
    if not {"bf16", "fp16"} & set(settings.training):
        fast = fast_bfloat16(settings.training.get("use_cpu", defaults["use_cpu"]))
        # with the settings that are kept: a machine that would go on otherwise is told so
        settings = replace(settings, training={**settings.training, "bf16": fast})
    if "learning_rate" in settings.training:
        defaults.pop("generator_learning_rate", None)  # whoever chooses a rate means both networks unless they say so
    if resume and restart:
        raise ValueError("`resume` and `restart` exclude each other. Give one.")
    if (settings.dataset is None) == (settings.train_files is None):
        given = "neither" if settings.dataset is None else "both"
        raise ValueError(
            f"`train_files` or `dataset` must be given, got {given}. A folder that `electra-plus prepare` wrote is a `dataset`."
        )
    if settings.dataset is not None and settings.tokenizer is not None:
        raise ValueError("`dataset` brings its tokenizer, got `tokenizer` as well. Leave that out.")
    arguments = training_arguments(ElectraPlusTrainingArguments, settings.output_dir, defaults, settings.training)
    checkpoint = None if restart else find_checkpoint(settings, output_dir, resume)
    # tokenizer and model first: what does not fit is said before an hour of tokenising
    if settings.dataset is not None:
        # one share: the trainer deals out
        rows, held_out, tokenizer, manifest = load_prepared(settings.dataset, rank=0, world_size=1)
    else:
        tokenizer = known_tokenizer(settings, output_dir if checkpoint else None)
    ElectraPlusConfig.preset(settings.preset, **model_fields(settings, tokenizer))
    if tokenizer is not None:
        refuse_other_ids(settings, tokenizer)
    row_length = settings.row_length if settings.dataset is None else manifest["row_length"]
    length_ramp = make_length_ramp(settings, arguments, row_length)
    if settings.dataset is None:
        rows, held_out, tokenizer = rows_of_text(settings, tokenizer)
    if settings.validation_files is not None:
        held_out = pack_rows(read_documents(settings.validation_files), tokenizer, settings.row_length)
    if hasattr(held_out, "__len__") and not len(held_out):
        raise ValueError(
            f"`dataset` ({settings.dataset!r}) holds out no rows. Give `validation_files`, or prepare it with a larger "
            "`held_out_fraction`."
        )
    set_seed(settings.seed)
    model = make_model(settings, tokenizer)
    if restart and arguments.should_save:  # only now that nothing is wrong with what begins anew
        for folder in checkpoint_folders(output_dir):
            shutil.rmtree(folder)
    if arguments.should_save:
        tokenizer.save_pretrained(output_dir)
        keep_settings(settings, output_dir / SETTINGS_FILE)
    if settings.final_mask_rate is not None and arguments.max_steps < 1:
        raise ValueError("`final_mask_rate` needs `training: {max_steps: ...}`, over which the rate changes.")
    collator = DataCollatorForReplacedTokenDetection(
        tokenizer,
        mask_rate=settings.mask_rate,
        final_mask_rate=settings.final_mask_rate,
        num_batches=max(1, arguments.max_steps * arguments.gradient_accumulation_steps),
        length_ramp=length_ramp,
        whole_word=settings.whole_word,
        seed=settings.seed,
        # a compiler wants batches of one shape
        static_slots=arguments.torch_compile,
        pad_to_multiple_of=(settings.initial_row_length or row_length) if arguments.torch_compile else None,
    )
    trainer = ElectraPlusTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=held_out,
        data_collator=collator,
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    trainer.save_model()
    figures = trainer.evaluate()
    trainer.save_metrics("eval", figures)
    corpus = [settings.dataset] if settings.dataset is not None else settings.train_files
    trainer.card.record.task = "pretraining"
    count = len(rows) if len(corpus) == 1 and hasattr(rows, "__len__") else None
    trainer.card.record.datasets = [Dataset(public_name(name), rows=count) for name in corpus]
    trainer.card.record.hyperparameters |= {"row length": row_length, "mask rate": settings.mask_rate}
    if arguments.should_save:
        write_card(output_dir, trainer.card.record)
    return figures


def make_length_ramp(settings: PretrainingSettings, arguments: TrainingArguments, row_length: int) -> LengthRamp | None:
    """Return the lengths of rows, batch by batch, for rows of `row_length` tokens; `None` if they are whole from the start."""
    initial, fraction = settings.initial_row_length, settings.length_ramp
    if initial is None and fraction is None:
        return None
    if initial is None or fraction is None:
        raise ValueError(
            f"`initial_row_length` and `length_ramp` need each other, got {initial} and {fraction}. Give both or none."
        )
    if not 0 < fraction <= 1:
        raise ValueError(f"`length_ramp` must be in (0, 1], a fraction of the training, got {fraction}.")
    if arguments.max_steps < 1:
        raise ValueError("`length_ramp` needs `training: {max_steps: ...}`, of which it is a fraction.")
    num_batches = round(fraction * arguments.max_steps * arguments.gradient_accumulation_steps)
    return LengthRamp(initial, row_length, max(1, num_batches))


def fast_bfloat16(on_cpu: bool) -> bool:
    """Say whether training in bfloat16 (autocast; weights and optimizer stay in float32) is faster than in float32 here."""
    import torch

    if not on_cpu:
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11 cannot say
    return any(capabilities.get(name, False) for name in FAST_BFLOAT16)


def takes_bfloat16(dtype: str | None, on_cpu: bool) -> bool:
    """
    Say whether matrix products are taken in bfloat16: what a `dtype` asks for, `None` where it is faster.

    Raises:
        ValueError: Another `dtype` than `"bfloat16"` or `"float32"`.
    """
    if dtype not in (None, "bfloat16", "float32"):
        raise ValueError(f"`dtype` must be bfloat16 or float32, got {dtype!r}.")
    return dtype == "bfloat16" or (dtype is None and fast_bfloat16(on_cpu))


def make_model(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerBase):
    """Return the joint model: new, a joint checkpoint, or two networks joined."""
    from electra_plus.models.modeling_electra_plus_discriminator import ElectraPlusForReplacedTokenDetection
    from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining

    fields = model_fields(settings, tokenizer)
    if settings.discriminator is None and settings.generator is None:
        return ElectraPlusForPreTraining(ElectraPlusConfig.preset(settings.preset, **fields))
    if settings.discriminator is None:
        new = ElectraPlusConfig.preset(settings.preset, **{**fields, "generator_config": None})
        sharing = settings.model.get("embedding_sharing", "none")
        detector = ElectraPlusForReplacedTokenDetection(new)
        return ElectraPlusForPreTraining.from_generator_discriminator(settings.generator, detector, sharing)
    if settings.generator is None:
        if ElectraPlusConfig.from_pretrained(settings.discriminator).generator_config is None:
            raise ValueError(
                f"`discriminator` ({settings.discriminator!r}) is no joint checkpoint, so it needs a `generator`: any masked LM "
                "with the same vocabulary."
            )
        return ElectraPlusForPreTraining.from_pretrained(settings.discriminator, **settings.model)
    return ElectraPlusForPreTraining.from_generator_discriminator(
        settings.generator, settings.discriminator, **settings.model
    )


def model_fields(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerBase | None) -> dict[str, Any]:
    """Return the fields of a new model; a generator among them has the tokenizer's vocabulary if it does not say otherwise."""
    vocabulary: dict[str, Any] = {"vocab_size": settings.vocab_size}
    if tokenizer is not None:
        vocabulary = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    fields = {**settings.model, **vocabulary}
    if isinstance(fields.get("generator_config"), dict):
        fields["generator_config"] = {**vocabulary, **fields["generator_config"]}
    return fields


def known_tokenizer(settings: PretrainingSettings, run: Path | None) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer given, that of the networks to start from, or that of a run to go on; `None` to train one."""
    if settings.tokenizer is not None:
        return load_tokenizer(settings.tokenizer)
    networks = [name for name in (settings.discriminator, settings.generator) if name is not None]
    for name in networks:
        if (tokenizer := tokenizer_beside(name)) is not None:
            return tokenizer
    if networks:
        raise OSError(f"{networks} must have a tokenizer, got none. Save it beside the weights, or give `tokenizer`.")
    return None if run is None else load_tokenizer(run)


def refuse_other_ids(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the networks to start from read the ids that the tokenizer of this run gives."""
    for argument in ("discriminator", "generator"):
        name = getattr(settings, argument)
        if settings.dataset is not None:
            of = f"`dataset` ({settings.dataset!r})"
            cure = f"Prepare the text for it: electra-plus prepare --tokenizer {name}"
        elif settings.tokenizer is not None:
            of, cure = f"`tokenizer` ({settings.tokenizer!r})", "Give the checkpoint's, or leave `tokenizer` out."
        else:
            of, cure = "`discriminator`", "Give two checkpoints with one tokenizer."
        if name is not None:
            refuse_another_vocabulary(argument, name, tokenizer, of, cure)


def rows_of_text(
    settings: PretrainingSettings, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[TokenRows, TokenRows, PreTrainedTokenizerBase]:
    """Return rows to train on, held-out rows, and the tokenizer: the one given, or a new one."""
    documents = list(read_documents(settings.train_files))
    if tokenizer is None:
        texts = [paragraph for document in documents for paragraph in document]
        tokenizer = train_wordpiece_tokenizer(texts, settings.vocab_size, settings.lowercase)
    rows = pack_rows(documents, tokenizer, settings.row_length)
    unknown_characters, characters = count_unknown(documents, tokenizer)
    num_unknown = sum(row.count(tokenizer.unk_token_id) for row in rows.rows)
    warn_of_unknown(num_unknown / sum(map(len, rows.rows)), unknown_characters / max(1, characters))
    if settings.validation_files is not None:
        return rows, TokenRows([]), tokenizer
    rows, held_out = hold_out(rows)
    return rows, held_out, tokenizer


def find_checkpoint(settings: PretrainingSettings, output_dir: Path, resume: bool) -> Path | None:
    """Return the checkpoint to go on from, `None` to begin; see [`pretrain`] for when that is an error."""
    from electra_plus.training.checkpoints import last_good_checkpoint

    checkpoint = last_good_checkpoint(output_dir)
    if checkpoint is None:
        if resume:
            raise FileNotFoundError(f"`--resume` found no whole checkpoint in `{output_dir}`. Start without it.")
        return None
    if not resume:
        same = same_run(settings, output_dir / SETTINGS_FILE, WITHOUT_EFFECT)
        if same is not True:
            raise ValueError(
                f"`output_dir` ({str(output_dir)!r}) holds a run with other {same}. Give another folder, `--resume` to go on "
                "with the new settings, or `--restart` to delete its checkpoints and begin anew."
            )
    logger.warning("Going on from `%s`.", checkpoint)
    return checkpoint


def hold_out(rows: TokenRows, every: int = 100) -> tuple[TokenRows, TokenRows]:
    """Split rows into those for training and every hundredth, at least one, for evaluation."""
    if len(rows) < 2:
        raise ValueError(
            f"`train_files` gives {len(rows)} row, but training and evaluation need one each. Give more text."
        )
    every = min(every, len(rows))
    kept = [row for index, row in enumerate(rows.rows) if (index + 1) % every]
    return TokenRows(kept), TokenRows(rows.rows[every - 1 :: every])
