"""What a person sees of the quickstart: the progress of the pretraining, its curve, and the figures at the end."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tqdm.auto import tqdm
from transformers import TrainerCallback, pipeline

SENTENCES = (
    "I really love this book.",
    "A wonderful film with great actors.",
    "The food was cold and the service was terrible.",
    "My phone died after two days, very disappointed.",
)


class Progress(TrainerCallback):
    """
    A bar over the steps, and a line with held-out figures at every fifth of them.

    Args:
        stage (`str`): Its name.
        evaluate: Called without arguments; returns held-out figures.
        curve (`list[dict]`): Gets a point at every fifth.
    """

    def __init__(self, stage: str, evaluate: Callable[[], dict[str, float]], curve: list[dict]):
        self.stage = stage
        self.evaluate = evaluate
        self.curve = curve
        self.before = curve[-1]["seconds"] if curve else 0.0
        self.fifths = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = time.perf_counter()
        self.bar = tqdm(total=state.max_steps, desc=f"  {self.stage}", unit="step")

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            rate = state.num_input_tokens_seen / (time.perf_counter() - self.started)
            parts = [f"{rate:,.0f} tokens/s"]
            if "detection_auc" in logs:
                parts += [f"generator {logs['generator_loss']:.2f} nats", f"detector AUC {logs['detection_auc']:.3f}"]
            else:
                parts += [f"{logs['loss']:.2f} nats"]
            self.bar.set_postfix_str(", ".join(parts))

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()
        fifths = 5 * state.global_step // state.max_steps
        if fifths > self.fifths:
            self.fifths = fifths
            self.record(state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()

    def record(self, step: int) -> None:
        """Evaluate, remember the point of the curve, and print it."""
        seconds = self.before + time.perf_counter() - self.started
        figures = self.evaluate()
        self.curve.append({"stage": self.stage, "seconds": seconds, "step": step, **figures})
        if "auc" in figures:
            blocks = "█" * max(0, round((figures["auc"] - 0.5) * 60))
            text = f"generator {figures['generator_loss']:.2f} nats, detector AUC {figures['auc']:.3f} {blocks}"
        else:
            text = f"{figures['masked_lm_loss']:.2f} nats a masked token"
        tqdm.write(f"  {seconds:4.0f} s  step {step:5,}  held-out book: {text}")


def draw_curve(curve: list[dict], file: Path) -> None:
    """Draw the losses and the detector's held-out AUC over time; without matplotlib, say so and go on."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("   no curve drawn: `pip install matplotlib` (the extra electra-plus[plots])")
        return
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set(
        xlabel="seconds of pretraining", ylabel="nats a masked token", title="electra-plus quickstart, held-out book"
    )
    right = axes.twinx()
    right.set_ylabel("detector AUC")
    lines = []
    for pane, key, color, label in (
        (axes, "masked_lm_loss", "tab:green", "masked LM, whole encoder"),
        (axes, "generator_loss", "tab:orange", "masked LM, generator"),
        (right, "auc", "tab:blue", "detector AUC (0.5 is chance)"),
    ):
        points = [(point["seconds"], point[key]) for point in curve if key in point]
        lines += pane.plot(*zip(*points, strict=True), marker="o", color=color, label=label) if points else []
    right.axhline(0.5, color="tab:blue", linestyle=":", linewidth=1)
    right.set_ylim(0.45, 1.0)
    switch = [point["seconds"] for point in curve if "masked_lm_loss" in point]
    if switch:
        axes.axvline(switch[-1], color="gray", linestyle="--", linewidth=1)
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
    figure.savefig(file, dpi=120)


def gains(table: list[dict]) -> list[tuple[int, float, float | None]]:
    """
    Compare the rows "pretrained" and "from scratch", whose runs are pairs on the same sentences.

    Returns:
        `list[tuple]`: number of labels, mean difference of accuracy, and its standard error (`None` with one run).
    """
    found = []
    scratch = {row["num_labels"]: row["accuracies"] for row in table if row["name"] == "from scratch"}
    for row in table:
        if row["name"] == "pretrained":
            pairs = zip(row["accuracies"], scratch[row["num_labels"]], strict=True)
            differences = [ours - theirs for ours, theirs in pairs]
            error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None
            found.append((row["num_labels"], statistics.mean(differences), error))
    return found


def report(figures: dict, output: Path) -> None:
    """Print the figures, predictions for a few sentences, and how to go on."""
    last = figures["curve"][-1]
    print(
        f"\nHeld-out book: detector AUC {last['auc']:.3f} (chance 0.5) against a generator of "
        f"{last['generator_loss']:.2f} nats a masked token"
    )
    print("Sentiment accuracy on sentences held out, mean of runs")
    print(f"  {'':<26} {'labels':>6} {'held out':>9} {'runs':>5}  accuracy (± what chance in the sample does to a run)")
    for row in figures["accuracies"]:
        mean = sum(row["accuracies"]) / len(row["accuracies"])
        error = (mean * (1 - mean) / row["num_held_out"]) ** 0.5
        print(
            f"  {row['name']:<26} {row['num_labels']:>6,} {row['num_held_out']:>9,} {len(row['accuracies']):>5}  "
            f"{mean:.3f} ± {error:.3f}"
        )
    for num_labels, gain, error in gains(figures["accuracies"]):
        spread = "one run" if error is None else f"± {100 * error:.1f}, standard error over runs"
        print(f"  pretraining brings {100 * gain:+.1f} points at {num_labels:,} labels ({spread})")
    classify = pipeline("text-classification", model=str(output / "sentiment"))
    print("\nPredictions")
    for sentence, answer in zip(SENTENCES, classify(list(SENTENCES)), strict=True):
        print(f"  {answer['label']} {answer['score']:.2f}  {sentence}")
    fill = pipeline("fill-mask", model=str(output / "masked_lm"))
    words = ", ".join(f"{guess['token_str']} {guess['score']:.2f}" for guess in fill("she looked at [MASK] ."))
    print(f"  she looked at [MASK] .  ->  {words}")
    print(
        f"""
Open them yourself:
  import electra_plus
  from transformers import AutoModelForPreTraining, pipeline
  pipeline("text-classification", model="{output / "sentiment"}")("I really love this book.")
  pipeline("fill-mask", model="{output / "masked_lm"}")("she looked at [MASK] .")
  AutoModelForPreTraining.from_pretrained("{output / "pretrained"}")  # generator and discriminator, to train on
The curve is in {output / "curve.png"}, all figures in {output / "figures.json"}. Done in {figures["seconds"]:.0f} s."""
    )
