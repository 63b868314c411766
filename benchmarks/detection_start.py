"""
What makes detection start, when generator and detector are trained jointly from random weights?

One change at a time to `modern RTD, weight 10` of `objectives.py`, for the same compute time on one thread: mask rate, generator
size, learning rate, warm-up, what is shared, gradients clipped apart, and four times the time, beside a masked LM of either
time. Detectors are compared against one generator they never met, the masked LM of the same time and seed, and against tokens drawn by
their frequency, the easiest replacements that there are. Some arms are fine-tuned too, as in `objectives.py`.

    python benchmarks/detection_start.py --books pretrain_en_books --sst2 sst2 --cola cola
"""

import argparse
import json
from dataclasses import replace

import torch
import transformers
from machine import measured_rows, save_result
from objectives import (
    ARMS,
    add_options,
    auc_against,
    changed,
    checkpoint,
    downstream,
    frequency_logits,
    masked_lm_logits,
    prepare,
    pretrain,
)

BASE = ARMS["modern RTD, weight 10"]
MASKED_LM = "masked LM"
LONG_MASKED_LM = "masked LM, four times the time"
APART = "clipped apart, detector at 1e-3"
VARIANTS = {
    MASKED_LM: ARMS["modern MLM"],
    "as in the table of objectives": BASE,
    "mask rate 0.3": replace(BASE, mask_rate=0.3),
    "mask rate 0.5": replace(BASE, mask_rate=0.5),
    "learning rate 1e-3": replace(BASE, learning_rate=1e-3),
    "warm-up over a fifth": replace(BASE, warmup=0.2),
    "generator half as wide": replace(BASE, generator_fields={"hidden_size": 64, "num_attention_heads": 1}),
    "generator as deep": replace(BASE, generator_fields={"num_hidden_layers": 3}),
    "only word vectors shared by difference (gdes)": replace(BASE, model_fields={"embedding_sharing": "gdes"}),
    "nothing shared": replace(BASE, model_fields={"embedding_sharing": "none"}),
    APART: replace(BASE, learning_rate=1e-3, generator_learning_rate=4e-3),
    LONG_MASKED_LM: replace(ARMS["modern MLM"], time=4.0),
    "four times the time": replace(BASE, time=4.0),
}
FINE_TUNED = (MASKED_LM, "as in the table of objectives", APART, LONG_MASKED_LM, "four times the time")


def run(name: str, seed: int, options: argparse.Namespace) -> dict:
    """Make one row of the table."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    return {"curve": pretrain(name, VARIANTS[name], seed, options)}


def main() -> None:
    """Measure each row in a process of its own and save after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, result="detection_start", seeds=[0, 1], names=VARIANTS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one[0], int(options.one[1]), options)))
        return
    prepare(options.books, options.work)
    settings = {"seconds": options.seconds, "arms": {name: changed(arm) for name, arm in VARIANTS.items()}}
    wanted = [{"arm": arm, "seed": seed} for seed in options.seeds for arm in options.arms]
    rows = measured_rows(options.result, settings, wanted, options.jobs)
    for row in rows:
        arm = VARIANTS[row["arm"]]
        start = checkpoint(options, row["arm"], row["seed"])
        if row["arm"] in FINE_TUNED and "sst2" not in row and start.exists():
            torch.set_num_threads(1)
            row |= downstream(start, row["seed"], arm.finetuning_learning_rate, options)
            save_result(options.result, {"settings": settings, "rows": rows})
        generator = checkpoint(options, LONG_MASKED_LM if arm.time > 1 else MASKED_LM, row["seed"])
        if arm.masked_lm < 1 and "auc_against_masked_lm" not in row and generator.exists():
            row["auc_against_masked_lm"] = auc_against(masked_lm_logits(generator), start, options)
            row["auc_against_frequency"] = auc_against(frequency_logits(options), start, options)
    save_result(options.result, {"settings": settings, "rows": rows})


if __name__ == "__main__":
    main()
