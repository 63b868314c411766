"""The main job: from ten books to a sentiment classifier in under four minutes on two cores, without a network."""

import json
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    pipeline,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from electra_plus.data.corpus import pack_rows, read_documents
from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.metrics.detection import DetectionMetrics
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.models.modeling_electra_plus_heads import ElectraPlusForSequenceClassification
from electra_plus.models.modeling_electra_plus_pretraining import ElectraPlusForPreTraining
from electra_plus.recipes.finetuning import read_examples
from electra_plus.samples import sample_path
from electra_plus.training.callbacks import PretrainingMetricsCallback, TimeBudget

VOCAB_SIZE = 4096
ROW_LENGTH = 64
SENTENCES = (
    "I really love this book.",
    "A wonderful film with great actors.",
    "The food was cold and the service was terrible.",
    "My phone died after two days, very disappointed.",
)


class Progress(TrainerCallback):
    """
    A bar that counts seconds, and a line with held-out figures at every tenth of the budget.

    Args:
        budget ([`TimeBudget`]): The clock.
        evaluate: Called without arguments; returns held-out figures.
    """

    def __init__(self, budget: TimeBudget, evaluate):
        self.budget = budget
        self.evaluate = evaluate
        self.curve: list[dict[str, float]] = []
        self.bar = tqdm(total=round(budget.seconds), unit="s", bar_format="{l_bar}{bar}| {n}/{total} s {postfix}")

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "generator_loss" in logs:
            self.bar.set_postfix_str(
                f"step {state.global_step:,}, {logs['tokens_per_second']:,} tokens/s, "
                f"generator {logs['generator_loss']:.2f} nats, detector AUC {logs['detection_auc']:.3f}"
            )

    def on_step_end(self, args, state, control, **kwargs):
        seconds = round(self.budget.fraction_spent * self.budget.seconds)
        if seconds > self.bar.n:
            self.bar.update(seconds - self.bar.n)
        if self.budget.fraction_spent >= (len(self.curve) + 1) / 10:
            self.record(state.global_step)

    def record(self, step: int) -> None:
        """Evaluate and remember the point of the curve."""
        figures = self.evaluate()
        self.curve.append({"seconds": self.budget.fraction_spent * self.budget.seconds, "step": step, **figures})
        blocks = "█" * max(0, round((figures["auc"] - 0.5) * 80))
        tqdm.write(
            f"  {self.curve[-1]['seconds']:4.0f} s  step {step:5,}  held-out: generator {figures['generator_loss']:.2f} nats, "
            f"detector AUC {figures['auc']:.3f} {blocks}"
        )


def quickstart(output_dir: str = "quickstart", seconds: float = 150.0, seed: int = 0) -> dict:
    """
    Run the whole job and print what it finds, whatever it is.

    Args:
        output_dir (`str`, *optional*, defaults to `"quickstart"`):
            Gets `pretrained/` (joint checkpoint), `sentiment/` (classifier), `curve.png` and `figures.json`.
        seconds (`float`, *optional*, defaults to 150): Wall time of pretraining; the rest takes about a minute.
        seed (`int`, *optional*, defaults to 0): Of weights, order and masks.

    Returns:
        `dict`: the figures of `figures.json`.
    """
    started = time.perf_counter()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)

    print("1. Tokenizer: WordPiece on ten English books")
    books = list(read_documents([sample_path("books.txt.gz")]))
    tokenizer = train_wordpiece_tokenizer((line for book in books for line in book), VOCAB_SIZE, model_max_length=128)
    rows = pack_rows(books, tokenizer, ROW_LENGTH)
    held_out = pack_rows(read_documents([sample_path("held_out_book.txt.gz")]), tokenizer, ROW_LENGTH)
    print(f"   {len(tokenizer):,} tokens; {len(rows):,} rows of {ROW_LENGTH} to train on, another book held out")

    print(f"2. Pretraining modern-tiny by replaced token detection for {seconds:.0f} s")
    model, curve = pretrain(tokenizer, rows, held_out, seconds, seed)
    pretrained = output / "pretrained"
    model.save_pretrained(pretrained)
    tokenizer.save_pretrained(pretrained)
    draw_curve(curve, output / "curve.png")

    print("3. Sentiment: 2,200 labelled sentences of product, film and restaurant reviews, 300 held out")
    accuracies = compare_finetuning(pretrained, tokenizer, output / "sentiment", seed)

    figures = {"seed": seed, "curve": curve, "accuracies": accuracies, "seconds": time.perf_counter() - started}
    (output / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    report(figures, output)
    return figures


def pretrain(tokenizer, rows, held_out, seconds: float, seed: int):
    """Pretrain for a budget of wall time; return the model and its held-out curve."""
    set_seed(seed)
    config = ElectraPlusConfig.preset(
        "modern-tiny", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, discriminator_loss_weight=10.0
    )
    model = ElectraPlusForPreTraining(config)
    collator = DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=0.3, seed=seed)
    # the original's masking for evaluation, with the same masks and draws every time
    evaluation_collator = DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=0.15, seed=seed)
    batches = [
        evaluation_collator([held_out[index] for index in range(start, min(start + 64, len(held_out)))], step=start)
        for start in range(0, min(len(held_out), 640), 64)
    ]

    def evaluate():
        return held_out_figures(model, batches)

    budget = TimeBudget(seconds)
    progress = Progress(budget, evaluate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    arguments = TrainingArguments(
        output_dir=".",
        max_steps=10**9,
        per_device_train_batch_size=16,
        logging_steps=25,
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
        data_collator=collator,
        optimizers=(optimizer, budget.scheduler(optimizer)),
        callbacks=[PretrainingMetricsCallback(), budget, progress],
    )
    trainer.pop_callback(PrinterCallback)  # the bar says it all
    trainer.train()
    progress.bar.close()
    return model, progress.curve


@torch.no_grad()
def held_out_figures(model: ElectraPlusForPreTraining, batches: list[dict]) -> dict[str, float]:
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


def draw_curve(curve: list[dict[str, float]], file: Path) -> None:
    """Draw the detector's held-out AUC and the generator's loss over time; without matplotlib, say so and go on."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("   no curve drawn: `pip install matplotlib` (the extra electra-plus[plots])")
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    seconds = [point["seconds"] for point in curve]
    (line,) = axes.plot(seconds, [point["auc"] for point in curve], marker="o", color="tab:blue")
    axes.axhline(0.5, color="tab:blue", linestyle=":", linewidth=1)
    axes.set(xlabel="seconds of pretraining", ylabel="detector AUC on a held-out book", title="electra-plus quickstart")
    right = axes.twinx()
    (other,) = right.plot(seconds, [point["generator_loss"] for point in curve], marker="s", color="tab:orange")
    right.set_ylabel("generator loss (nats per masked token)")
    axes.legend([line, other], ["detector AUC (0.5 is chance)", "generator loss"], loc="center right")
    figure.savefig(file, dpi=120)


def finetune_once(start, tokenizer, examples, validation, seed: int, epochs: int, learning_rate: float):
    """Fine-tune a classifier from a folder, or from new weights if `start` is a configuration; return model and accuracy."""
    set_seed(seed)
    labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    if isinstance(start, ElectraPlusConfig):
        model = ElectraPlusForSequenceClassification(start)
        model.config.id2label, model.config.label2id = labels["id2label"], labels["label2id"]
    else:
        model = ElectraPlusForSequenceClassification.from_pretrained(start, classifier_dropout=0.1, **labels)

    def encode(rows):
        encoded = tokenizer([row["sentence"] for row in rows], truncation=True, max_length=ROW_LENGTH)
        return [{"input_ids": ids, "labels": row["label"]} for ids, row in zip(encoded["input_ids"], rows, strict=True)]

    arguments = TrainingArguments(
        output_dir=".",
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=100,
        learning_rate=learning_rate,
        warmup_steps=0.1,
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
        eval_dataset=encode(validation),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda prediction: {
            "accuracy": float((prediction.predictions.argmax(axis=-1) == prediction.label_ids).mean())
        },
    )
    trainer.pop_callback(PrinterCallback)  # the table below says it all
    trainer.train()
    return model, trainer.evaluate()["eval_accuracy"]


def compare_finetuning(pretrained: Path, tokenizer, sentiment: Path, seed: int) -> dict[str, dict[str, list[float]]]:
    """Fine-tune with and without pretraining, on all labelled sentences and on 300; save the best-trained classifier."""
    train = read_examples(sample_path("sentiment_train.jsonl"))
    validation = read_examples(sample_path("sentiment_validation.jsonl"))
    scratch = ElectraPlusConfig.from_pretrained(pretrained, classifier_dropout=0.1, generator_config=None)
    positive = sum(row["label"] for row in validation) / len(validation)
    accuracies: dict[str, dict[str, list[float]]] = {"majority": {"accuracy": [max(positive, 1 - positive)]}}
    for size, epochs, num_seeds in ((len(train), 4, 2), (300, 12, 3)):
        for name, start in (("from scratch", scratch), ("pretrained", pretrained)):
            for run in range(num_seeds):
                model, accuracy = finetune_once(
                    start, tokenizer, train[:size], validation, seed + run, epochs, learning_rate=1e-3
                )
                accuracies.setdefault(name, {}).setdefault(str(size), []).append(accuracy)
                if name == "pretrained" and size == len(train) and run == 0:
                    model.save_pretrained(sentiment)
                    tokenizer.save_pretrained(sentiment)
    return accuracies


def report(figures: dict, output: Path) -> None:
    """Print the figures, predictions for a few sentences, and how to go on."""
    last = figures["curve"][-1]
    print(f"\nHeld-out book: detector AUC {last['auc']:.3f} (chance 0.5), generator {last['generator_loss']:.2f} nats")
    accuracies = figures["accuracies"]
    print("Sentiment accuracy on 300 held-out sentences (mean of seeds; standard error of one run about 0.02)")
    print(f"  {'always the larger class':<26} {accuracies['majority']['accuracy'][0]:.3f}")
    for size in accuracies["pretrained"]:
        for name in ("from scratch", "pretrained"):
            runs = accuracies[name][size]
            print(f"  {name + ', ' + size + ' rows':<26} {sum(runs) / len(runs):.3f}   {runs}")
    classify = pipeline("text-classification", model=str(output / "sentiment"))
    print("\nPredictions")
    for sentence, answer in zip(SENTENCES, classify(list(SENTENCES)), strict=True):
        print(f"  {answer['label']} {answer['score']:.2f}  {sentence}")
    fill = pipeline("fill-mask", model=str(output / "pretrained"))
    words = ", ".join(f"{guess['token_str']} {guess['score']:.2f}" for guess in fill("she looked at [MASK] ."))
    print(f"  she looked at [MASK] .  ->  {words}")
    print(
        f"""
Open them yourself:
  import electra_plus
  from transformers import pipeline
  pipeline("text-classification", model="{output / "sentiment"}")("I really love this book.")
  pipeline("fill-mask", model="{output / "pretrained"}")("she looked at [MASK] .")
The curve is in {output / "curve.png"}, all figures in {output / "figures.json"}. Done in {figures["seconds"]:.0f} s."""
    )
