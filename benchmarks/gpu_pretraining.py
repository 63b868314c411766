"""
How many tokens a second, and which utilisation, does joint pretraining reach on one GPU; and what comes of 62,500 steps?

- `pack`: from a folder that `electra-plus prepare` wrote, one compact file of rows for a machine without it.
- `speed`: steps of classic small (128 rows of 128 tokens) and modern-base (as many rows of 512 as fit), bfloat16 autocast, fused
  AdamW: plain, under `torch.compile`, and with its CUDA graphs, in each attention that there is; beside classic small the usual
  loop with stock networks. Batches lie on the device already; how fast one worker makes them is measured apart. Rounds are
  interleaved. With `--profile` the kernels that take most of the time are listed too.
- `train`: classic small with the recipe of the same name, through `ElectraPlusTrainer`. It stops with a checkpoint before its
  time is over, and the same command goes on from there. The model is saved each time, in halves of 32 bits and files of 15 MB at
  most too.

    python benchmarks/gpu_pretraining.py pack --dataset prepared --output packed
    python benchmarks/gpu_pretraining.py speed
    python benchmarks/gpu_pretraining.py train --packed packed --output run --steps 62500 --minutes 9

With `--device cpu --toy` all of it runs anywhere at toy size, to see that it does.
"""

import argparse
import gc
import hashlib
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from machine import RESULTS, save_result
from pretraining import VOCAB_SIZE, NaiveJoint, tokenizer_of_ids
from safetensors.numpy import load_file, save_file
from torch.profiler import profile
from torch.utils.data import ConcatDataset, Dataset
from transformers import TrainerCallback
from transformers.utils import is_flash_attn_2_available

from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusConfig,
    ElectraPlusForPreTraining,
    ElectraPlusTrainer,
    ElectraPlusTrainingArguments,
)
from electra_plus.data.prepared import load_prepared
from electra_plus.data.row_rules import document_numbers
from electra_plus.data.tokenization import load_tokenizer
from electra_plus.recipes.settings import recipe_file
from electra_plus.training.checkpoints import checkpoint_folders
from electra_plus.training.flops import measured_peak_flops, training_flops

STARTED = time.perf_counter()  # the time that `--minutes` counts began before the imports above, some seconds ago
ROWS_FILE = "rows.safetensors"
MANIFEST = "manifest.json"
AT_ONCE = 1000  # rows read from the dataset at a time
MEMORY_SHARE = (
    0.7  # of the device that one arm may fill: the other arms' weights are there too, and the compiler's workspace
)
# modes of `torch.compile`; graphs launch a whole pass at once, which matters where kernels are short
MODES = {"plain": None, "compiled": "default", "graphs": "reduce-overhead"}


# ---- pack ----


def pack(options: argparse.Namespace) -> None:
    """Write the first training rows that fit, some held-out ones, and the tokenizer."""
    prepared = load_prepared(options.dataset, rank=0, world_size=1)
    if len(prepared.tokenizer) > 2**16:
        raise ValueError(f"`dataset` must have at most 65,536 tokens in its vocabulary, got {len(prepared.tokenizer)}.")
    options.output.mkdir(parents=True, exist_ok=True)
    limit = int(options.max_mib * 2**20)
    parts = {"held_out": _packed(prepared.held_out.rows, limit // 20)}
    parts["train"] = _packed(prepared.train.rows, limit - _size(parts["held_out"]) - 2**14)  # with room for a header
    file = options.output / ROWS_FILE
    save_file({f"{part}.{name}": values for part, arrays in parts.items() for name, values in arrays.items()}, file)
    prepared.tokenizer.save_pretrained(options.output)
    manifest = {
        "rule": prepared.manifest["rule"],
        "row_length": prepared.manifest["row_length"],
        **{f"{part}_rows": len(arrays["pieces"]) for part, arrays in parts.items()},
        **{f"{part}_tokens": len(arrays["ids"]) for part, arrays in parts.items()},
        "rows_of_dataset": len(prepared.train),
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "source": prepared.manifest,
    }
    (options.output / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print({name: value for name, value in manifest.items() if name != "source"})


def _packed(rows, limit: int) -> dict[str, np.ndarray]:
    """Return `ids` of all rows, `lengths` of their documents or segments, and how many `pieces` each row has, in `limit` bytes."""
    found: dict[str, list[np.ndarray]] = {"ids": [], "lengths": [], "pieces": []}
    size = 0
    for start in range(0, len(rows), AT_ONCE):
        for row in _rows_of_columns(rows[start : start + AT_ONCE]):
            lengths = row.get("document_lengths")
            if lengths is None:  # the rule "sentences": segment A, and what is left for B
                of_b = int(sum(row["token_type_ids"]))
                lengths = [len(row["input_ids"]) - of_b, of_b]
            arrays = {"ids": row["input_ids"], "lengths": lengths, "pieces": [len(lengths)]}
            arrays = {name: np.asarray(values, dtype=np.uint16) for name, values in arrays.items()}
            size += _size(arrays)
            if size > limit:
                break
            for name, values in arrays.items():
                found[name].append(values)
        if size > limit:
            break
    empty = np.empty(0, np.uint16)
    return {name: np.concatenate(values) if values else empty for name, values in found.items()}


def _rows_of_columns(columns: dict[str, list]) -> list[dict[str, list[int]]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _size(arrays: dict[str, np.ndarray]) -> int:
    return sum(values.nbytes for values in arrays.values())


class PackedRows(Dataset):
    """
    Rows that `pack` wrote, as the collator takes them.

    Args:
        folder (`Path`): Where it wrote them.
        part (`str`): `"train"` or `"held_out"`.
    """

    def __init__(self, folder: Path, part: str):
        self.manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        arrays = load_file(folder / ROWS_FILE)
        self.ids, self.lengths, pieces = (arrays[f"{part}.{name}"] for name in ("ids", "lengths", "pieces"))
        self.piece_ends = np.concatenate([[0], np.cumsum(pieces, dtype=np.int64)])
        self.token_ends = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.piece_ends) - 1

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        first, last = self.piece_ends[index], self.piece_ends[index + 1]
        ids = self.ids[self.token_ends[first] : self.token_ends[last]].tolist()
        numbers = document_numbers(self.lengths[first:last].tolist())
        name = "token_type_ids" if self.manifest["rule"] == "sentences" else "document_ids"
        return {"input_ids": ids, name: numbers}


# ---- speed ----


class Arm:
    """
    A model with its optimizer, on the device, that takes steps.

    Args:
        name (`str`): What it is called in the result.
        model (`torch.nn.Module`): Returns a loss, or outputs that have one.
        batches (`list[dict]`): On the device, taken in turn.
        mode (`str`, *optional*): Of `torch.compile`; `None` leaves it out.
    """

    def __init__(self, name: str, model: torch.nn.Module, batches: list[dict], mode: str | None = None):
        self.name, self.batches = name, batches
        self.device = batches[0]["input_ids"].device
        before = _allocated(self.device)
        self.model = model.to(self.device).train()
        self.run = self.model if mode is None else torch.compile(self.model, mode=mode)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, fused=True)
        self.num_steps, self.seconds, self.peak_bytes = 0, [], 0
        for _ in range(2 * len(batches)):  # warm-up: optimizer states, allocator, and a compiler that meets every batch
            self.step()
        self.own_bytes = _allocated(self.device) - before

    def step(self) -> None:
        """Take an optimizer step, without waiting for the device."""
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(self.device.type, torch.bfloat16):
            outputs = self.run(**self.batches[self.num_steps % len(self.batches)])
        (outputs if isinstance(outputs, torch.Tensor) else outputs.loss).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.num_steps += 1

    def measure(self, num_steps: int) -> None:
        """Note the seconds of a step, the mean of several, and the peak of the memory."""
        before = _allocated(self.device)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        for _ in range(num_steps):
            self.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            growth = torch.cuda.max_memory_allocated() - before
            self.peak_bytes = max(self.peak_bytes, self.own_bytes + growth)
        self.seconds.append((time.perf_counter() - started) / num_steps)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0


def random_rows(num_rows: int, length: int) -> list[list[int]]:
    """Rows of random ids."""
    return torch.randint(1000, VOCAB_SIZE, (num_rows, length)).tolist()


def joint_model(config: ElectraPlusConfig, attention: str) -> ElectraPlusForPreTraining:
    """A model with an attention implementation in both networks."""
    model = ElectraPlusForPreTraining(config)
    model.set_attn_implementation(attention)
    return model


def rows_that_fit(config: ElectraPlusConfig, length: int, device: torch.device) -> int:
    """Return how many rows fill the share of the memory that is to be filled, a multiple of 8, from the growth of 8 to 16."""
    if device.type == "cpu":
        return 8
    peaks = {}
    for num_rows in (8, 16):
        arm = Arm("probe", joint_model(config, "sdpa"), make_batches(num_rows, length, device)[0])
        arm.measure(1)
        peaks[num_rows] = arm.peak_bytes
        del arm
        gc.collect()
        torch.cuda.empty_cache()
    of_row = (peaks[16] - peaks[8]) / 8
    wanted = MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory
    return max(8, int((wanted - peaks[8]) / of_row + 8) // 8 * 8)


def make_batches(num_rows: int, length: int, device: torch.device, count: int = 4) -> tuple[list[dict], float]:
    """Return batches of masked random rows on the device, and the seconds that one process took for each."""
    collator = DataCollatorForReplacedTokenDetection(tokenizer_of_ids(), static_slots=True)
    rows = [random_rows(num_rows, length) for _ in range(count)]
    started = time.perf_counter()
    batches = [collator(one) for one in rows]
    seconds = (time.perf_counter() - started) / count
    for batch in batches:
        del batch["attention_mask"]  # there is no padding, and a mask costs attention its fastest kernel
    move = [{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()} for batch in batches]
    return move, seconds


def measured_model(
    name: str, config: ElectraPlusConfig, num_rows: int, length: int, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the figures of a model's arms."""
    torch._dynamo.reset()  # else it would leave open what differs from the model before
    batches, seconds_of_batch = make_batches(num_rows, length, device)
    attentions = ["sdpa", *(["flash_attention_2"] if device.type == "cuda" and is_flash_attn_2_available() else [])]
    arms = [
        Arm(f"{attention}, {mode}", joint_model(config, attention), batches, MODES[mode])
        for attention in attentions
        for mode in (["plain"] if options.no_compile else options.modes)
    ]
    if name == "classic small":
        plain = [{key: batch[key] for key in ("input_ids", "labels")} for batch in batches]
        arms.append(Arm("usual loop", NaiveJoint(), plain))
    num_steps = 2 if options.toy else options.steps
    for _ in range(options.rounds):
        for arm in arms:
            arm.measure(num_steps)
    if options.profile:
        for arm in arms:
            print_kernels(name, arm)
    tokens = num_rows * length
    flops = training_flops(config, tokens, length, batches[0]["num_masked_slots"])
    figures = {}
    for arm in arms:
        median = statistics.median(arm.seconds)
        figures[arm.name] = {
            "seconds": arm.seconds,
            "tokens_per_second": tokens / median,
            # useful operations only: the usual loop does more of them for the same step
            "flops_utilization": flops / median / options.peak_flops,
            "peak_bytes": arm.peak_bytes,
        }
        print(
            f"{name}, {num_rows} rows of {length}, {arm.name:<24} {median * 1000:8.2f} ms a step {tokens / median:10.0f} tokens/s  "
            f"utilisation {figures[arm.name]['flops_utilization']:.3f}  {arm.peak_bytes / 2**30:.1f} GiB"
        )
    return {
        "rows": num_rows,
        "tokens_per_row": length,
        "flops_of_step": flops,
        "seconds_to_make_a_batch": seconds_of_batch,
        "arms": figures,
    }


def print_kernels(name: str, arm: Arm) -> None:
    """Print what takes the device's time, and how much of the time it has something to do."""
    with profile() as found:
        started = time.perf_counter()
        for _ in range(3):
            arm.step()
        if arm.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    table = found.key_averages()
    busy = sum(event.self_device_time_total for event in table if event.device_type.name == "CUDA") / 1e6
    print(
        f"\n{name}, {arm.name}: {1000 * seconds / 3:.2f} ms a step while profiled, device busy {1000 * busy / 3:.2f} ms"
    )
    by = "self_device_time_total" if arm.device.type == "cuda" else "self_cpu_time_total"
    print(table.table(sort_by=by, row_limit=25, max_name_column_width=90))


def speed(options: argparse.Namespace) -> None:
    """Measure steps, print and save."""
    torch.manual_seed(0)
    device = torch.device(options.device)
    options.peak_flops = measured_peak_flops(device, torch.bfloat16)
    before = options.results / "gpu_speed.json"  # of the other model, from a call of its own
    models = json.loads(before.read_text(encoding="utf-8"))["models"] if before.exists() else {}
    result: dict[str, Any] = {"peak_flops": options.peak_flops, "dtype": "bfloat16 autocast", "models": models}
    presets = {"classic small": ("small", 128, 128), "modern-base": ("modern-base", options.rows, 512)}
    if options.toy:
        presets = {"classic small": ("tiny", 2, 32), "modern-base": ("modern-tiny", 2, 32)}
    for name in options.models or presets:
        preset, num_rows, length = presets[name]
        config = ElectraPlusConfig.preset(preset, vocab_size=VOCAB_SIZE)
        num_rows = num_rows or rows_that_fit(config, length, device)
        result["models"][name] = measured_model(name, config, num_rows, length, device, options)
        gc.collect()
        print(save_result("gpu_speed", result, options.results))  # after each: a later one may not fit


# ---- train ----


class StopInTime(TrainerCallback):
    """Save and stop when the time is over."""

    def __init__(self, seconds: float):
        self.ends = STARTED + seconds

    def on_step_end(self, args, state, control, **kwargs):
        if time.perf_counter() > self.ends:
            control.should_save = control.should_training_stop = True


def train(options: argparse.Namespace) -> None:
    """Train or go on, save what came of it."""
    recipe = yaml.safe_load(recipe_file("classic-small").read_text(encoding="utf-8"))
    rows, held_out = (PackedRows(options.packed, part) for part in ("train", "held_out"))
    tokenizer = load_tokenizer(options.packed)
    toy = {"per_device_train_batch_size": 4, "warmup_steps": 2, "logging_steps": 1} if options.toy else {}
    on_cpu = options.device == "cpu"
    arguments = ElectraPlusTrainingArguments(
        str(options.output),
        **{
            **recipe["training"],
            "max_steps": options.steps,
            "warmup_steps": recipe["training"]["warmup_steps"] if options.warmup is None else options.warmup,
            "save_steps": options.save_steps,
            "save_total_limit": 2,
            "logging_steps": 250,
            "per_device_eval_batch_size": 128,
            "bf16": True,
            "torch_compile": not options.no_compile,
            "torch_compile_mode": None if options.no_compile else "reduce-overhead",
            "dataloader_num_workers": options.workers,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": on_cpu,
            **toy,
        },
    )
    torch.manual_seed(arguments.seed)
    config = ElectraPlusConfig.preset(
        "tiny" if options.toy else recipe["preset"], vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
    )
    trainer = ElectraPlusTrainer(
        model=ElectraPlusForPreTraining(config),
        args=arguments,
        # one pass of many: workers start anew with each, which takes as long as hundreds of steps
        train_dataset=ConcatDataset([rows] * -(-options.steps * arguments.train_batch_size // len(rows))),
        eval_dataset=held_out,
        data_collator=DataCollatorForReplacedTokenDetection(
            tokenizer,
            mask_rate=recipe["mask_rate"],
            static_slots=True,
            pad_to_multiple_of=rows.manifest["row_length"],  # one shape for the compiler
            seed=arguments.seed,
        ),
        processing_class=tokenizer,
        callbacks=[StopInTime(options.minutes * 60)],
    )
    begun = bool(checkpoint_folders(options.output))
    trainer.train(resume_from_checkpoint=begun or None)
    state = trainer.state
    log = [entry for entry in state.log_history if "loss" in entry]
    result = {
        "steps": state.global_step,
        "of": options.steps,
        "recipe": recipe,
        "packed": {name: value for name, value in rows.manifest.items() if name != "source"},
        "passes_over_the_rows": state.global_step * arguments.train_batch_size / len(rows),
        **{
            f"median_{name}": statistics.median(entry[name] for entry in log if name in entry)
            for name in ("tokens_per_second", "flops_utilization")
            if any(name in entry for entry in log)
        },
        "log": log,
    }
    if options.device == "cuda":
        result["peak_bytes"] = torch.cuda.max_memory_allocated()
    result["held_out"] = trainer.evaluate()
    trainer.save_model(str(options.output / "model"))
    trainer.model.half().save_pretrained(options.output / "half", max_shard_size="15MB")  # small enough to travel
    tokenizer.save_pretrained(options.output / "half")
    print(save_result(options.result, result, options.results))
    if state.global_step >= options.steps:
        print(
            f"score it: electra-plus evaluate --model {options.output / 'model'} --suite glue-small --data GLUE_FOLDER"
        )
    else:
        print(f"{state.global_step} of {options.steps} steps; the same command goes on")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    common.add_argument("--toy", action="store_true", help="tiny models and batches")
    common.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    common.add_argument("--results", type=Path, default=RESULTS, help="folder of the json (default: %(default)s)")

    command = commands.add_parser("pack", help="rows into one file")
    command.add_argument("--dataset", required=True, help="folder that `electra-plus prepare` wrote")
    command.add_argument("--output", type=Path, required=True)
    command.add_argument("--max-mib", type=float, default=60, help="of the rows (default: %(default)s)")
    command.set_defaults(run=pack)

    command = commands.add_parser("speed", parents=[common], help="steps of both models")
    command.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    command.add_argument("--steps", type=int, default=20, help="of an arm in a round (default: %(default)s)")
    command.add_argument("--rows", type=int, help="of modern-base (default: as many as fit)")
    command.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES), help="(default: all)")
    command.add_argument("--models", nargs="+", choices=["classic small", "modern-base"], help="(default: both)")
    command.add_argument("--profile", action="store_true", help="list the kernels of each arm")
    command.set_defaults(run=speed)

    command = commands.add_parser("train", parents=[common], help="classic small, resumable")
    command.add_argument("--packed", type=Path, required=True, help="folder that `pack` wrote")
    command.add_argument("--output", type=Path, required=True)
    command.add_argument("--steps", type=int, default=62_500, help="of the whole run (default: %(default)s)")
    command.add_argument("--warmup", type=int, help="steps (default: the recipe's 10,000)")
    command.add_argument("--result", default="gpu_pretraining", help="name of the json file (default: %(default)s)")
    command.add_argument("--minutes", type=float, default=9, help="after which this call stops (default: %(default)s)")
    command.add_argument("--save-steps", type=int, default=5000, help="(default: %(default)s)")
    command.add_argument("--workers", type=int, default=min(12, (os.cpu_count() or 1) - 1), help="that make batches")
    command.set_defaults(run=train)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
