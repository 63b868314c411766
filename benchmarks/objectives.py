"""
Which objective and which backbone learn most in the same time? And what does a task gain from it?

Pretraining on books, each arm for the same compute time on one thread, from random weights:

- `classic RTD`: tiny, replaced token detection with the preset's generator, joint.
- `modern RTD`: modern-tiny, the same.
- `modern RTD, weight 10`: the detector's loss counts 10 times the generator's instead of 50 times.
- `modern MLM`: the backbone of modern-tiny as a masked LM.
- `modern MLM, then RTD`: as a masked LM for three quarters of the time, then as detector at the same learning rate.
- `modern MLM, then RTD, gently`: for nine tenths of the time, then as detector at a quarter of the learning rate.

Then each checkpoint is fine-tuned for SST-2 (first 10,000 training rows, accuracy) and CoLA (Matthews correlation), beside
the modern backbone from scratch. Each seed is a pretraining and a fine-tuning of its own. Time is the process's processor time, so
that another program on the machine takes nothing from an arm; evaluation is not counted. Rows of the table that are in the
result file are not measured again; checkpoints stay in `--work`.

    python benchmarks/objectives.py --books pretrain_en_books --sst2 sst2 --cola cola
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import transformers
from finetuned import finetuned
from machine import RESULTS, measured_rows, save_result
from sklearn.metrics import matthews_corrcoef

from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusConfig,
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusForReplacedTokenDetection,
    ElectraPlusForSequenceClassification,
)
from electra_plus.data.corpus import TokenRows, pack_rows, read_documents
from electra_plus.data.examples import read_examples
from electra_plus.data.tokenization import load_tokenizer, train_wordpiece_tokenizer
from electra_plus.metrics.detection import DetectionMetrics
from electra_plus.models.objectives_electra_plus import replaced_token_labels, sample_replacements
from electra_plus.recipes.quickstart import held_out_batches, joint_figures, masked_lm_figures

VOCAB_SIZE = 8192
ROW_LENGTH = 64  # with few rows a step: many small steps beat few large ones in this time
ROWS_PER_STEP = 16
POINTS = 8  # of each curve
SST2_ROWS = 10_000
MLM_MASK_RATE = 0.3  # of the masked LM; a detector's generator keeps ELECTRA's 0.15


@dataclass(frozen=True)
class Arm:
    """
    A way to pretrain.

    Args:
        preset (`str`): The model.
        learning_rate (`float`): The best of a few on another seed in a third of the time.
        masked_lm (`float`): Share of the time spent on masked LM, 1 for no detection.
        discriminator_loss_weight (`float`): Of the time that is left.
        detection_learning_rate (`float`, *optional*): Of detection after masked LM. `None` is the same.
        finetuning_learning_rate (`float`): The paper's 3e-4 for the classic flavour.
        mask_rate (`float`): Of detection; a masked LM has its own.
        warmup (`float`): Share of the time in which the learning rate rises.
        model_fields (`dict`): Fields of the joint configuration to change.
        generator_fields (`dict`): The same for the generator's.
        generator_learning_rate (`float`, *optional*):
            Of the generator and what it shares, whose gradients are then clipped apart. `None` is one rate, one clipping.
        time (`float`): Multiple of the time that others have.
    """

    preset: str
    learning_rate: float
    masked_lm: float = 0.0
    discriminator_loss_weight: float = 50.0
    detection_learning_rate: float | None = None
    finetuning_learning_rate: float = 1e-3
    mask_rate: float = 0.15
    warmup: float = 0.02
    model_fields: dict = field(default_factory=dict)
    generator_fields: dict = field(default_factory=dict)
    generator_learning_rate: float | None = None
    time: float = 1.0


def changed(arm: Arm) -> dict:
    """Return the fields of an arm that are not at their default."""
    defaults = asdict(Arm(arm.preset, arm.learning_rate))
    return {name: value for name, value in asdict(arm).items() if value != defaults[name]} | {
        "preset": arm.preset,
        "learning_rate": arm.learning_rate,
    }


ARMS = {
    "classic RTD": Arm("tiny", 1e-3, finetuning_learning_rate=3e-4),
    "modern RTD": Arm("modern-tiny", 4e-3),
    "modern RTD, weight 10": Arm("modern-tiny", 4e-3, discriminator_loss_weight=10.0),
    "modern MLM": Arm("modern-tiny", 4e-3, masked_lm=1.0),
    "modern MLM, then RTD": Arm("modern-tiny", 4e-3, masked_lm=0.75, discriminator_loss_weight=10.0),
    "modern MLM, then RTD, gently": Arm(
        "modern-tiny", 4e-3, masked_lm=0.9, discriminator_loss_weight=10.0, detection_learning_rate=1e-3
    ),
}
SCRATCH = "modern from scratch"


def prepare(books: Path, work: Path) -> None:
    """Train the tokenizer and save the rows, training and held out (the last two books), once for all arms."""
    work.mkdir(parents=True, exist_ok=True)
    if (work / "rows.pt").exists():
        return
    documents = list(read_documents([books]))
    tokenizer = train_wordpiece_tokenizer((line for book in documents for line in book), VOCAB_SIZE)
    tokenizer.save_pretrained(work)
    rows = pack_rows(documents[:-2], tokenizer, ROW_LENGTH).rows
    torch.save((rows, pack_rows(documents[-2:], tokenizer, ROW_LENGTH).rows), work / "rows.pt")


def train(
    model: torch.nn.Module,
    batches,
    seconds: float,
    learning_rate: float,
    record: Callable[[float, int], None],
    warmup: float = 0.02,
    generator_learning_rate: float | None = None,
) -> None:
    """Train for `seconds` of processor time: AdamW, warm-up over a share of it, linear decay; record the curve."""
    groups = [{"params": list(model.parameters()), "peak": learning_rate}]
    if generator_learning_rate is not None:
        generator = set(model.generator.parameters())
        groups = [
            {"params": [p for p in model.parameters() if p not in generator], "peak": learning_rate},
            {"params": list(generator), "peak": generator_learning_rate},
        ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    model.train()
    spent, recorded = 0.0, 0
    for step in itertools.count(1):
        started = time.process_time()
        share = spent / seconds
        model(**next(batches)).loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(share / warmup + 0.02, 1.0) * (1.0 - share)
            torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        spent += time.process_time() - started
        if spent >= seconds or int(POINTS * spent / seconds) > recorded:
            recorded += 1
            record(spent, step)
        if spent >= seconds:
            return


def joint_config(arm: Arm, **fields) -> ElectraPlusConfig:
    """Return the configuration of generator and detector."""
    fields |= {"discriminator_loss_weight": arm.discriminator_loss_weight, **arm.model_fields}
    config = ElectraPlusConfig.preset(arm.preset, **fields)
    if not arm.generator_fields:
        return config
    generator = {**config.generator_config.to_dict(), "intermediate_size": None, "layer_types": None}
    generator_config = ElectraPlusConfig(**{**generator, **arm.generator_fields})
    return ElectraPlusConfig.preset(arm.preset, **fields, generator_config=generator_config)


def pretrain(name: str, arm: Arm, seed: int, options: argparse.Namespace) -> list[dict]:
    """Pretrain one arm, save its checkpoint, and return its curve."""
    transformers.set_seed(seed)
    tokenizer = load_tokenizer(options.work)
    rows, held_out = torch.load(options.work / "rows.pt")
    fixed = held_out_batches(tokenizer, TokenRows(held_out), num_rows=512)
    fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = joint_config(arm, **fields)
    seconds = arm.time * options.seconds
    curve: list[dict] = []

    def stage(model, figures, mask_rate: float, seconds: float, learning_rate: float, **how) -> None:
        before = curve[-1]["seconds"] if curve else 0.0
        collator = DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=mask_rate, seed=seed)
        order = itertools.chain.from_iterable(random.sample(rows, len(rows)) for _ in itertools.count())
        batches = (collator([{"input_ids": next(order)} for _ in range(ROWS_PER_STEP)]) for _ in itertools.count())

        def record(spent: float, step: int) -> None:
            curve.append({"seconds": before + spent, "step": step, **figures(model, fixed)})
            print(name, seed, curve[-1], file=sys.stderr, flush=True)

        train(model, batches, seconds, learning_rate, record, arm.warmup, **how)

    model = ElectraPlusForPreTraining(config)
    if arm.masked_lm:
        alone = ElectraPlusConfig.preset(arm.preset, **fields, generator_config=None, sparse_prediction=True)
        masked_lm = model = ElectraPlusForMaskedLM(alone)
        stage(masked_lm, masked_lm_figures, MLM_MASK_RATE, arm.masked_lm * seconds, arm.learning_rate)
    if arm.masked_lm < 1:
        if arm.masked_lm:
            generator = ElectraPlusForMaskedLM(config.generator_config)
            model = ElectraPlusForPreTraining.from_generator_discriminator(
                generator,
                masked_lm,
                discriminator_loss_weight=arm.discriminator_loss_weight,
                sparse_prediction=False,
            )
        rate = (arm.masked_lm and arm.detection_learning_rate) or arm.learning_rate
        share, generator_rate = 1 - arm.masked_lm, arm.generator_learning_rate
        stage(model, joint_figures, arm.mask_rate, share * seconds, rate, generator_learning_rate=generator_rate)
    model.save_pretrained(checkpoint(options, name, seed))
    return curve


def masked_lm_logits(folder: Path) -> Callable[[dict], torch.Tensor]:
    """Return what scores the masked slots of a batch with a masked LM."""
    masked_lm = ElectraPlusForMaskedLM.from_pretrained(folder).eval()
    return lambda batch: masked_lm(**batch).logits  # sparse prediction: of the masked slots


def frequency_logits(options: argparse.Namespace) -> Callable[[dict], torch.Tensor]:
    """Return what scores every slot by how often a token is in the training rows."""
    rows, _ = torch.load(options.work / "rows.pt")
    tokenizer = load_tokenizer(options.work)
    counts = torch.bincount(torch.tensor(list(itertools.chain.from_iterable(rows))), minlength=len(tokenizer)).float()
    counts[tokenizer.all_special_ids] = 0
    return lambda batch: counts.log().expand((batch["labels"] != -100).sum(), -1)


@torch.no_grad()
def auc_against(scores: Callable[[dict], torch.Tensor], folder: Path, options: argparse.Namespace) -> float:
    """Return a detector's AUC where tokens drawn by `scores` fill the masked slots."""
    tokenizer = load_tokenizer(options.work)
    _, held_out = torch.load(options.work / "rows.pt")
    detector = ElectraPlusForReplacedTokenDetection.from_pretrained(folder).eval()
    metrics = DetectionMetrics()
    torch.manual_seed(0)
    for batch in held_out_batches(tokenizer, TokenRows(held_out), num_rows=512):
        input_ids, labels, padding = batch["input_ids"], batch["labels"], batch["attention_mask"]
        slots = labels != -100
        corrupted = input_ids.masked_scatter(slots, sample_replacements(scores(batch)))
        replaced = replaced_token_labels(corrupted, torch.where(slots, labels, input_ids), padding)
        metrics.update(detector(corrupted, attention_mask=padding).logits, replaced)
    return metrics.compute()["auc"]


def checkpoint(options: argparse.Namespace, arm: str, seed: int) -> Path:
    """Return where an arm's weights lie."""
    return options.work / f"{arm.replace(', ', ' ').replace(' ', '-')}-{seed}"


def downstream(start: Path | None, seed: int, learning_rate: float, options: argparse.Namespace) -> dict[str, float]:
    """Fine-tune a checkpoint, or new weights if `start` is `None`, for both tasks; return accuracy and Matthews correlation."""
    tokenizer = load_tokenizer(options.work)
    tasks = {"sst2": (options.sst2, SST2_ROWS), "cola": (options.cola, None)}
    scores = {}
    for task, (folder, limit) in tasks.items():
        transformers.set_seed(seed)
        if start is None:
            config = ElectraPlusConfig.preset(
                "modern-tiny", vocab_size=len(tokenizer), generator_config=None, classifier_dropout=0.1
            )
            model = ElectraPlusForSequenceClassification(config)
        else:
            model = ElectraPlusForSequenceClassification.from_pretrained(
                start, classifier_pooling="mean", classifier_dropout=0.1
            )
        parts = []
        for pattern in ("train", "validation"):
            rows = read_examples(next(folder.glob(f"{pattern}*.jsonl*")))[: limit if pattern == "train" else None]
            encoded = tokenizer([row["sentence"] for row in rows], truncation=True, max_length=ROW_LENGTH)["input_ids"]
            parts.append([{"input_ids": ids, "labels": row["label"]} for ids, row in zip(encoded, rows, strict=True)])
        predicted, labels, _ = finetuned(
            model,
            transformers.DataCollatorWithPadding(tokenizer),
            *parts,
            seed,
            num_train_epochs=3,
            learning_rate=learning_rate,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=128,
        )
        score = matthews_corrcoef(labels, predicted) if task == "cola" else (predicted == labels).mean()
        scores[task] = float(score)
    return scores


def run(name: str, seed: int, options: argparse.Namespace) -> dict:
    """Make one row of the table."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    if name == SCRATCH:
        return {"curve": [], **downstream(None, seed, 1e-3, options)}
    curve = pretrain(name, ARMS[name], seed, options)
    start = checkpoint(options, name, seed)
    return {"curve": curve, **downstream(start, seed, ARMS[name].finetuning_learning_rate, options)}


def draw(rows: list[dict], file: Path) -> None:
    """Draw the masked LM's loss and the detector's AUC over time, mean of seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set(
        xlabel="seconds of pretraining, one thread", ylabel="nats a masked token", title="masked LM, held-out books"
    )
    right.set(xlabel="seconds of pretraining, one thread", ylabel="AUC", title="detector, held-out books")
    for color, arm in zip(
        ("tab:blue", "tab:orange", "tab:brown", "tab:green", "tab:red", "tab:purple"), ARMS, strict=True
    ):
        curves = [row["curve"] for row in rows if row["arm"] == arm]
        for axes, key in ((left, "masked_lm_loss"), (left, "generator_loss"), (right, "auc")):
            points = [
                (statistics.mean(p["seconds"] for p in same), statistics.mean(p[key] for p in same))
                for same in zip(*curves, strict=False)
                if all(key in p for p in same)
            ]
            if points:
                style = ":" if key == "generator_loss" else "-"
                label = f"{arm}, generator" if key == "generator_loss" else arm
                axes.plot(
                    *zip(*points, strict=True), marker="o", markersize=3, linestyle=style, color=color, label=label
                )
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.15))
    figure.savefig(file, dpi=120)


def add_options(parser: argparse.ArgumentParser, result: str, seeds: list[int], names: Iterable[str]) -> None:
    """Add the options of a table of arms."""
    names = list(names)
    parser.add_argument("--books", type=Path, required=True, help="folder of text files, a blank line between books")
    parser.add_argument("--sst2", type=Path, required=True, help="folder with train*.jsonl and validation*.jsonl")
    parser.add_argument("--cola", type=Path, required=True, help="the same")
    parser.add_argument(
        "--work", type=Path, default=Path("objectives"), help="tokenizer, rows, checkpoints (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds, help="(default: %(default)s)")
    parser.add_argument("--arms", nargs="+", choices=names, default=names, help="(default: all)")
    parser.add_argument("--seconds", type=float, default=240, help="of pretraining (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time, a thread each (default: %(default)s)")
    parser.add_argument("--result", default=result, help="name of the result file (default: %(default)s)")
    parser.add_argument("--one", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, result="objectives", seeds=[0, 1, 2], names=[*ARMS, SCRATCH])
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one[0], int(options.one[1]), options)))
        return
    prepare(options.books, options.work)
    settings = {"seconds": options.seconds, "arms": {name: changed(arm) for name, arm in ARMS.items()}}
    wanted = [{"arm": arm, "seed": seed} for seed in options.seeds for arm in options.arms]
    rows = measured_rows(options.result, settings, wanted, options.jobs)
    for row in rows:
        generator = checkpoint(options, "modern MLM", row["seed"])
        detects = row["arm"] != SCRATCH and ARMS[row["arm"]].masked_lm < 1
        if detects and "auc_against_masked_lm" not in row and generator.exists():
            detector = checkpoint(options, row["arm"], row["seed"])
            row["auc_against_masked_lm"] = auc_against(masked_lm_logits(generator), detector, options)
    save_result(options.result, {"settings": settings, "rows": rows})
    draw(rows, RESULTS / f"{options.result}.png")


if __name__ == "__main__":
    main()
