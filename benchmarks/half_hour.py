"""
What comes out of half an hour of pretraining on two cores, and is detection worth it there?

Rows of 128 tokens from books and Wikipedia (`electra-plus prepare`), each arm from random weights for as many steps as half an hour
holds: before the first arm, a few hundred steps of each are timed on all cores in turns, and the number of steps is fixed. The
training itself may then share the machine.

- `modern RTD`: modern-tiny with the recipe's own defaults for it.
- `modern masked LM`: its backbone as a masked LM, the vocabulary scored at masked slots only.
- `classic RTD`: tiny, one rate for both networks, the best of a few in shorter runs (`objectives.py`).
- `modern RTD, untrained`.

Held out: AUC against the detector's own generator, and against the masked LM of this table, which no detector met. BLiMP: the mean
over paradigms of pairs judged rightly, by the detector and by pseudo-likelihood of the generator or masked LM; ties count as wrong.

    electra-plus prepare --input pretrain_en_books/*.gz pretrain_en_wiki/*.gz --output prepared
    python benchmarks/half_hour.py --dataset prepared --blimp blimp
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from machine import RESULTS, measured_rows, save_result

from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusConfig,
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusTrainer,
    ElectraPlusTrainingArguments,
)
from electra_plus.data.prepared import load_prepared
from electra_plus.recipes.evaluation.suites import evaluate
from electra_plus.recipes.pretraining import PRESET_TRAINING
from electra_plus.training.checkpoints import last_good_checkpoint

ROWS_PER_STEP = 32
ROUNDS = 3
COMMON = {
    "per_device_train_batch_size": ROWS_PER_STEP, "per_device_eval_batch_size": 64, "weight_decay": 0.01, "adam_epsilon": 1e-6,
    "warmup_steps": 0.02, "bf16": True, "use_cpu": True, "dataloader_pin_memory": False, "report_to": "none", "save_total_limit": 1,
    "logging_steps": 100, "save_steps": 500, "disable_tqdm": True,
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """A way to pretrain: model, mask rate, arguments of the trainer, and whether it is a masked LM alone or untrained."""

    preset: str = "modern-tiny"
    masked_lm: bool = False
    mask_rate: float = 0.15
    trained: bool = True
    training: dict = field(default_factory=lambda: PRESET_TRAINING["modern-tiny"])


ARMS = {
    "modern RTD": Arm(),
    "modern masked LM": Arm(masked_lm=True, mask_rate=0.3, training={"learning_rate": 4e-3, "adam_beta2": 0.98}),
    "classic RTD": Arm(preset="tiny", training={"learning_rate": 1e-3}),
    "modern RTD, untrained": Arm(trained=False),
}
MASKED_LM = "modern masked LM"


def trainer_of(
    arm: Arm, dataset: str, folder: str | Path, seed: int, max_steps: int, **arguments
) -> ElectraPlusTrainer:
    """Return the trainer of a new model of an arm."""
    rows, held_out, tokenizer, _ = load_prepared(dataset)
    transformers.set_seed(seed)
    fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    if arm.masked_lm:
        config = ElectraPlusConfig.preset(arm.preset, **fields, generator_config=None, sparse_prediction=True)
        model = ElectraPlusForMaskedLM(config)
    else:
        model = ElectraPlusForPreTraining(ElectraPlusConfig.preset(arm.preset, **fields))
    given = ElectraPlusTrainingArguments(
        str(folder), max_steps=max_steps, seed=seed, **{**COMMON, **arm.training, **arguments}
    )
    return ElectraPlusTrainer(
        model,
        given,
        DataCollatorForReplacedTokenDetection(tokenizer, mask_rate=arm.mask_rate, seed=seed),
        train_dataset=rows,
        eval_dataset=None if arm.masked_lm else held_out,
        processing_class=tokenizer,
    )


def steps_in(seconds: float, dataset: str, num_steps: int = 40) -> dict[str, dict[str, float]]:
    """Return tokens a second and steps of each arm that trains, from interleaved rounds with all threads."""
    speeds: dict[str, list[float]] = {name: [] for name, arm in ARMS.items() if arm.trained}
    for _ in range(ROUNDS):
        for name, seen in speeds.items():
            with tempfile.TemporaryDirectory() as folder:
                timing = {"logging_steps": num_steps // 2, "save_strategy": "no"}
                trainer = trainer_of(ARMS[name], dataset, folder, 0, num_steps, **timing)
                trainer.train()
            logged = [log["tokens_per_second"] for log in trainer.state.log_history if "tokens_per_second" in log]
            seen.append(logged[-1])
            print(name, seen[-1], "tokens/s", flush=True)
    medians = {name: statistics.median(seen) for name, seen in speeds.items()}
    tokens = ROWS_PER_STEP * 128
    return {name: {"tokens_per_second": m, "steps": int(seconds * m / tokens)} for name, m in medians.items()}


def against(masked_lm: Path, detector: Path, arm: Arm, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of a detector on held-out rows filled by a masked LM that it never met."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(arm, options.dataset, folder, 0, 1)
        joint = ElectraPlusForPreTraining.from_generator_discriminator(
            ElectraPlusForMaskedLM.from_pretrained(masked_lm), ElectraPlusForPreTraining.from_pretrained(detector).discriminator, "none"
        )  # fmt: skip
        arguments, collator, held_out = trainer.args, trainer.data_collator, trainer.eval_dataset
        return ElectraPlusTrainer(joint, arguments, collator, eval_dataset=held_out).evaluate()


def run(name: str, seed: int, options: argparse.Namespace) -> dict:
    """Make one row of the table."""
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    arm = ARMS[name]
    folder = options.work / f"{name}, seed {seed}"
    steps = json.loads((RESULTS / f"{options.result}.json").read_text())["settings"]["steps"]
    trainer = trainer_of(arm, options.dataset, folder, seed, int(steps[name]["steps"]) if arm.trained else 1)
    row = {}
    if arm.trained:
        checkpoint = last_good_checkpoint(folder)
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        wanted = ("step", "generator_loss", "loss", "detection_auc", "generator_accuracy")
        row["curve"] = [
            {key: log[key] for key in wanted if key in log} for log in trainer.state.log_history if "loss" in log
        ]
    trainer.save_model()
    if not arm.masked_lm:
        seen = trainer.evaluate()
        row |= {key: seen[f"eval_{key}"] for key in ("auc", "generator_loss", "generator_accuracy", "replaced_rate")}
    judged = evaluate(str(folder), "blimp", str(options.blimp), limit=options.pairs)["figures"]
    row["blimp"] = {who: figures["macro_accuracy"] for who, figures in judged.items()}
    row["blimp_ties"] = {who: figures["ties"] for who, figures in judged.items()}
    row["blimp_paradigms"] = {
        who: {paradigm: of["accuracy"] for paradigm, of in figures["paradigms"].items()}
        for who, figures in judged.items()
    }
    return row


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder of electra-plus prepare")
    parser.add_argument("--blimp", type=Path, required=True, help="folder of BLiMP's pairs")
    parser.add_argument("--pairs", type=int, default=100, help="of each paradigm of BLiMP (default: %(default)s)")
    parser.add_argument(
        "--work", type=Path, default=Path("half_hour"), help="where checkpoints go (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=1800, help="of an arm on all cores (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a pretraining each (default: 0)")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="(default: all)")
    parser.add_argument("--threads", type=int, default=1, help="of an arm's process (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="arms trained at a time (default: %(default)s)")
    parser.add_argument("--result", default="half_hour", help="name of the json file (default: %(default)s)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one[0], int(options.one[1]), options)))
        return
    file = RESULTS / f"{options.result}.json"
    kept = json.loads(file.read_text()) if file.exists() else {"settings": {}}
    settings = kept["settings"]
    if settings.get("seconds") != options.seconds:
        settings = {
            "seconds": options.seconds,
            "pairs": options.pairs,
            "rows_per_step": ROWS_PER_STEP,
            "steps": steps_in(options.seconds, options.dataset),
        }
        save_result(options.result, {"settings": settings, "rows": []})
    wanted = [{"arm": arm, "seed": seed} for seed in options.seeds for arm in options.arms]
    rows = measured_rows(options.result, settings, wanted, options.jobs)
    for row in rows:
        masked_lm = options.work / f"{MASKED_LM}, seed {row['seed']}"
        if "auc" in row and "auc_against_masked_lm" not in row and (masked_lm / "model.safetensors").exists():
            detector = options.work / f"{row['arm']}, seed {row['seed']}"
            seen = against(masked_lm, detector, ARMS[row["arm"]], options)
            row["auc_against_masked_lm"] = seen["eval_auc"]
            of_masked_lm = next(r for r in rows if (r["arm"], r["seed"]) == (MASKED_LM, row["seed"]))
            of_masked_lm["generator_loss"] = seen["eval_generator_loss"]  # of the same slots as the generators'
    print(save_result(options.result, {"settings": settings, "rows": rows}))


if __name__ == "__main__":
    main()
