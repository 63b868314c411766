"""The main job: from books and reviews to a sentiment classifier in under four minutes on two cores, without a network."""

import json
import logging
import random
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from electra_plus.data.cooccurrence import cooccurrence_vectors
from electra_plus.data.corpus import TokenRows, pack_rows, read_documents
from electra_plus.data.examples import read_examples
from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.folders import refuse_file
from electra_plus.metrics.detection import DetectionMetrics
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.models.modeling_electra_plus_generator import ElectraPlusForMaskedLM
from electra_plus.models.modeling_electra_plus_heads import ElectraPlusForSequenceClassification
from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining
from electra_plus.recipes.quickstart_report import Progress, draw_curve, report
from electra_plus.samples import sample_path
from electra_plus.training.callbacks import PretrainingMetricsCallback

VOCAB_SIZE = 4096
ROW_LENGTH = 64
ROWS_PER_STEP = 16  # many small steps beat few large ones in this time
MASK_RATE = 0.25
STEPS = 950
MASKED_LM_FRACTION = 0.74  # of the steps; joint training alone learns far more slowly
MASKED_LM_LEARNING_RATE = 2e-3
# Few steps at a low rate: detection against a weak generator is learned soon, and more of it costs accuracy afterwards.
DETECTION_LEARNING_RATE = 1e-3
# Of the learning rate. Few steps of language modelling turn word embeddings towards grammar; co-occurrence vectors know more
# of what words mean, which a classifier with few labels needs.
EMBEDDING_LEARNING_RATE = 0.3
GENERATOR_SIZE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
COOCCURRENCE_WINDOW = 20  # tokens to each side
MAX_SENTENCE_LENGTH = 40  # in tokens; one sentence in twenty is longer
SENTIMENT_FILES = ("sentiment_train.jsonl", "sentiment_validation.jsonl")
# labels, epochs and runs of a comparison; the other sentences are held out
FEW_LABELS = (300, 6, 6)
MANY_LABELS = (1800, 4, 3)


def quickstart(output_dir: str = "quickstart", steps: int = STEPS, seed: int = 0) -> dict:
    """
    Run the whole job and print what it finds, whatever it is.

    Args:
        output_dir (`str`, *optional*, defaults to `"quickstart"`):
            Gets `masked_lm/` (the encoder after the first stage), `pretrained/` (joint checkpoint), `sentiment/` (classifier),
            `curve.png` and `figures.json`.
        steps (`int`, *optional*, defaults to 950): Optimizer steps of pretraining, at least 2.
        seed (`int`, *optional*, defaults to 0): Of weights, order and masks.

    Returns:
        `dict`: the figures of `figures.json`.

    Raises:
        ValueError: `steps` is too small, or `output_dir` is a file.
    """
    if steps < 2:
        raise ValueError(f"`steps` must be at least 2, one for each stage, got {steps}.")
    refuse_file(output_dir)
    started = time.perf_counter()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("electra_plus.models").setLevel(logging.ERROR)  # every new head is meant here
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)

    print("1. Tokenizer: WordPiece on books and film reviews")
    documents = list(read_documents([sample_path("books.txt.gz"), sample_path("reviews.txt.gz")]))
    texts = (line for document in documents for line in document)
    tokenizer = train_wordpiece_tokenizer(texts, VOCAB_SIZE, model_max_length=128)
    rows = pack_rows(documents, tokenizer, ROW_LENGTH)
    held_out = pack_rows(read_documents([sample_path("held_out_book.txt.gz")]), tokenizer, ROW_LENGTH)
    print(f"   {len(tokenizer):,} tokens; {len(rows):,} rows of {ROW_LENGTH} to train on, another book held out")

    print(f"2. Pretraining modern-tiny for {steps:,} steps: masked LM, then replaced token detection")
    curve: list[dict] = []
    batches = held_out_batches(tokenizer, held_out)
    first = min(max(1, round(steps * MASKED_LM_FRACTION)), steps - 1)
    masked_lm = pretrain_masked_lm(tokenizer, rows, batches, first, seed, curve)
    save(masked_lm, tokenizer, output / "masked_lm")
    joint = pretrain_detection(masked_lm, tokenizer, rows, batches, steps - first, seed + 1, curve)
    pretrained = output / "pretrained"
    save(joint, tokenizer, pretrained)
    draw_curve(curve, output / "curve.png")

    print("3. Sentiment of sentences from product, film and restaurant reviews, with and without that pretraining")
    accuracies = compare_finetuning(pretrained, tokenizer, output / "sentiment", seed)

    figures = {"seed": seed, "curve": curve, "accuracies": accuracies, "seconds": time.perf_counter() - started}
    (output / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    report(figures, output)
    return figures


def save(model: PreTrainedModel, tokenizer, folder: Path) -> None:
    """Write what a pipeline opens."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pretrain_masked_lm(tokenizer, rows, batches, steps: int, seed: int, curve: list[dict]) -> ElectraPlusForMaskedLM:
    """
    Train the encoder that will be the discriminator as a masked LM, adding held-out figures to `curve`.

    Word embeddings start from co-occurrence counts, which takes seconds and which thousands of steps would not catch up
    with, and learn slowly.
    """
    set_seed(seed)
    fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = ElectraPlusConfig.preset("modern-tiny", **fields, generator_config=None, sparse_prediction=True)
    model = ElectraPlusForMaskedLM(config)
    start_from_cooccurrence(model, rows, tokenizer)
    progress = Progress("masked LM", lambda: masked_lm_figures(model, batches), curve)
    train(model, steps, MASKED_LM_LEARNING_RATE, rows, tokenizer, seed, progress)
    return model


def pretrain_detection(
    masked_lm: ElectraPlusForMaskedLM, tokenizer, rows, batches, steps: int, seed: int, curve: list[dict]
) -> ElectraPlusForPreTraining:
    """Train the encoder of a masked LM to detect what a small generator replaced, with the word embeddings as they are."""
    shared = {name: getattr(masked_lm.config, name) for name in ("embedding_size", "vocab_size", "pad_token_id")}
    generator = ElectraPlusForMaskedLM(ElectraPlusConfig(flavour="modern", **GENERATOR_SIZE, **shared))
    joint = ElectraPlusForPreTraining.from_generator_discriminator(
        generator, masked_lm, embedding_sharing="all", discriminator_loss_weight=10.0, sparse_prediction=False
    )
    joint.get_input_embeddings().requires_grad_(False)
    progress = Progress("detection", lambda: joint_figures(joint, batches), curve)
    train(joint, steps, DETECTION_LEARNING_RATE, rows, tokenizer, seed, progress)
    joint.get_input_embeddings().requires_grad_(True)
    return joint


@torch.no_grad()
def start_from_cooccurrence(model: ElectraPlusForMaskedLM, rows: TokenRows, tokenizer) -> None:
    """Set word embeddings to co-occurrence vectors, as large as random ones; tokens without a vector keep theirs."""
    embeddings = model.get_input_embeddings().weight
    vectors = cooccurrence_vectors(
        rows.rows, *embeddings.shape, window=COOCCURRENCE_WINDOW, ignored_ids=tokenizer.all_special_ids
    )
    known = vectors.any(dim=1)
    embeddings[known] = vectors[known] * model.config.initializer_range * embeddings.shape[1] ** 0.5


def train(
    model: PreTrainedModel,
    steps: int,
    learning_rate: float,
    rows: TokenRows,
    tokenizer,
    seed: int,
    progress: Progress,
) -> None:
    """Train a model with the stock `Trainer`, with slow embeddings, or none if they are frozen."""
    embeddings = model.get_input_embeddings().weight
    groups = [{"params": [p for p in model.parameters() if p.requires_grad and p is not embeddings]}]
    if embeddings.requires_grad:
        groups.append({"params": [embeddings], "lr": EMBEDDING_LEARNING_RATE * learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    arguments = TrainingArguments(
        output_dir=".",
        max_steps=steps,
        warmup_steps=0.02,
        per_device_train_batch_size=ROWS_PER_STEP,
        logging_steps=25,
        include_num_input_tokens_seen="non_padding",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        seed=seed,
        dataloader_pin_memory=torch.accelerator.is_available(),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=MASK_RATE, seed=seed),
        optimizers=(optimizer, None),
        callbacks=[PretrainingMetricsCallback(), progress],
    )
    trainer.pop_callback(PrinterCallback)  # the bar says it all
    trainer.train()


def held_out_batches(tokenizer, held_out: TokenRows, num_rows: int = 640) -> list[dict[str, torch.Tensor]]:
    """Return the batches of every evaluation, always with the same masks, at the original's rate of 15 %."""
    collator = DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=0.15, seed=0)
    num_rows = min(num_rows, len(held_out))
    return [
        collator([held_out[index] for index in range(start, min(start + 64, num_rows))], step=start)
        for start in range(0, num_rows, 64)
    ]


@torch.no_grad()
def masked_lm_figures(model: ElectraPlusForMaskedLM, batches: list[dict]) -> dict[str, float]:
    """Return the mean loss over fixed batches, leaving the model's mode as it was."""
    was_training = model.training
    model.eval()
    losses = [
        model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).loss.item() for batch in batches
    ]
    model.train(was_training)
    return {"masked_lm_loss": sum(losses) / len(losses)}


@torch.no_grad()
def joint_figures(model: ElectraPlusForPreTraining, batches: list[dict]) -> dict[str, float]:
    """Score generator and detector on fixed batches, with fixed draws, leaving model mode and random state as they were."""
    was_training = model.training
    model.eval()
    detection = DetectionMetrics()
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for batch in batches:
            outputs = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
            detection.update(outputs.logits, outputs.rtd_labels)
            losses.append(outputs.generator_loss.item())
    model.train(was_training)
    return {**detection.compute(), "generator_loss": sum(losses) / len(losses)}


def finetune_once(start, tokenizer, examples, held_out, seed: int, epochs: int):
    """Fine-tune a classifier from a folder, or from new weights if `start` is a configuration; return model and accuracy."""
    set_seed(seed)
    labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    if isinstance(start, ElectraPlusConfig):
        model = ElectraPlusForSequenceClassification(start)
        model.config.id2label, model.config.label2id = labels["id2label"], labels["label2id"]
    else:
        model = ElectraPlusForSequenceClassification.from_pretrained(start, classifier_dropout=0.1, **labels)

    def encode(rows):
        encoded = tokenizer([row["sentence"] for row in rows], truncation=True, max_length=MAX_SENTENCE_LENGTH)
        return [{"input_ids": ids, "labels": row["label"]} for ids, row in zip(encoded["input_ids"], rows, strict=True)]

    arguments = TrainingArguments(
        output_dir=".",
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=100,
        # At 300 labels and this rate the pretrained model does better with 6 epochs than with 12; from scratch 6, 12 and 20
        # give 0.673, 0.667 and 0.671, and 3e-3 is a point worse than 1e-3.
        learning_rate=1e-3,
        weight_decay=0.1,
        warmup_steps=0.1,
        train_sampling_strategy="group_by_length",  # sentences differ much in length
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        dataloader_pin_memory=torch.accelerator.is_available(),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encode(examples),
        eval_dataset=encode(sorted(held_out, key=lambda row: len(row["sentence"]))),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda prediction: {
            "accuracy": float((prediction.predictions.argmax(axis=-1) == prediction.label_ids).mean())
        },
    )
    trainer.pop_callback(PrinterCallback)  # the table below says it all
    trainer.train()
    return model, trainer.evaluate()["eval_accuracy"]


def compare_finetuning(pretrained: Path, tokenizer, sentiment: Path, seed: int) -> list[dict]:
    """
    Fine-tune with and without pretraining, on few labelled sentences and on many; save a classifier trained on many.

    Each run draws its sentences anew, the same for both, and is scored on every sentence it did not train on.

    Returns:
        `list[dict]`: `name`, `num_labels`, `num_held_out` and `accuracies`, one a run, for each row of the table.
    """
    examples = [row for name in SENTIMENT_FILES for row in read_examples(sample_path(name))]
    scratch = ElectraPlusConfig.from_pretrained(pretrained, classifier_dropout=0.1, generator_config=None)
    positive = sum(row["label"] for row in examples) / len(examples)
    table = [{"name": "always the larger class", "num_labels": 0, "num_held_out": len(examples),
              "accuracies": [max(positive, 1 - positive)]}]  # fmt: skip
    bar = tqdm(total=2 * (FEW_LABELS[2] + MANY_LABELS[2]), desc="  runs", bar_format="{l_bar}{bar}| {n}/{total}")
    for num_labels, epochs, num_runs in (FEW_LABELS, MANY_LABELS):
        for name, start in (("from scratch", scratch), ("pretrained", pretrained)):
            accuracies = []
            for run in range(seed, seed + num_runs):
                shuffled = random.Random(run).sample(examples, len(examples))
                labelled, held_out = shuffled[:num_labels], shuffled[num_labels:]
                model, accuracy = finetune_once(start, tokenizer, labelled, held_out, run, epochs)
                accuracies.append(accuracy)
                bar.update()
            table.append(
                {"name": name, "num_labels": num_labels, "num_held_out": len(held_out), "accuracies": accuracies}
            )
    bar.close()
    save(model, tokenizer, sentiment)  # the last one: pretrained, many labels
    return table
