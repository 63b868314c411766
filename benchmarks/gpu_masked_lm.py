"""
Which small encoder can a GPU make in three minutes? A masked LM in the shape of MiniLM, 6 layers of 384, for `tasks.py`.

Classic, so that stock transformers opens it too; a masked LM, because a detector needs longer before it learns more than that
(`docs/pretraining_experiments.md`). Rows as `gpu_pretraining.py pack` wrote them. The model is saved in files of 15 MB at most.

    python benchmarks/gpu_masked_lm.py --packed packed --output small-zh --steps 6000
"""

import argparse
import os
from pathlib import Path

import torch
from gpu_pretraining import PackedRows, StopInTime
from machine import save_result
from torch.utils.data import ConcatDataset

from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusConfig,
    ElectraPlusForMaskedLM,
    ElectraPlusTrainer,
    ElectraPlusTrainingArguments,
)
from electra_plus.data.tokenization import load_tokenizer

SHAPE = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
TRAINING = {
    "per_device_train_batch_size": 256, "learning_rate": 7e-4, "warmup_steps": 0.15, "weight_decay": 0.01, "adam_epsilon": 1e-6,
    "adam_beta2": 0.98, "logging_steps": 250, "per_device_eval_batch_size": 256, "report_to": "none", "disable_tqdm": True,
    "save_strategy": "no", "bf16": True,
}  # fmt: skip
MASK_RATE = 0.2


def main() -> None:
    """Train, evaluate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", type=Path, required=True, help="folder that `gpu_pretraining.py pack` wrote")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000, help="(default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=4, help="after which it stops anyway (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=256, help="of a step (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=min(12, (os.cpu_count() or 1) - 1), help="that make batches")
    parser.add_argument("--result", default="gpu_masked_lm", help="name of the json file (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=Path("."), help="its folder (default: here)")
    options = parser.parse_args()
    rows, held_out = (PackedRows(options.packed, part) for part in ("train", "held_out"))
    tokenizer = load_tokenizer(options.packed)
    on_cpu = not torch.cuda.is_available()
    arguments = ElectraPlusTrainingArguments(
        str(options.output), max_steps=options.steps, dataloader_num_workers=options.workers, use_cpu=on_cpu,
        **{**TRAINING, "per_device_train_batch_size": options.rows},
    )  # fmt: skip
    torch.manual_seed(arguments.seed)
    fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    model = ElectraPlusForMaskedLM(
        ElectraPlusConfig.preset("small", **fields, **SHAPE, generator_config=None, sparse_prediction=True)
    )
    trainer = ElectraPlusTrainer(
        model=model,
        args=arguments,
        train_dataset=ConcatDataset([rows] * -(-options.steps * options.rows // len(rows))),
        eval_dataset=held_out,
        data_collator=DataCollatorForReplacedTokenDetection(
            tokenizer, mask_rate=MASK_RATE, pad_to_multiple_of=rows.manifest["row_length"], seed=arguments.seed
        ),
        processing_class=tokenizer,
        callbacks=[StopInTime(60 * options.minutes)],
    )
    trainer.train()
    trainer.model.half().save_pretrained(options.output, max_shard_size="15MB")
    tokenizer.save_pretrained(options.output)
    trainer.model.float()
    result = {
        "steps": trainer.state.global_step,
        "rows": options.rows,
        "training": TRAINING,
        "mask_rate": MASK_RATE,
        "shape": SHAPE,
        "packed": {name: value for name, value in rows.manifest.items() if name != "source"},
        "log": trainer.state.log_history,
        "held_out": trainer.evaluate(),  # of the weights as they were saved
    }
    print(save_result(options.result, result, options.results))


if __name__ == "__main__":
    main()
