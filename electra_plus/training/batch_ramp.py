"""Batches that grow in the course of a training."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler
from transformers import TrainingArguments
from transformers.trainer_utils import seed_worker

from electra_plus.data.masking import hashed_seed


class BatchRampSampler(Sampler[list[int]]):
    r"""
    The batches of a whole training, for all processes: each step takes `batches_per_step`, all of one size.

    Sizes grow evenly from step to step. Rows are shuffled anew each time they are used up, which may be in the middle of a batch;
    the order follows from `seed` and the number of the pass alone. What accelerate deals out in turn, as `Trainer` has it, gives
    all processes batches of one size in each step, and the rows that one process would have which accumulates as many batches.

    Args:
        num_rows (`int`): Of the dataset.
        initial_batch_size, batch_size (`int`): Rows in a batch of the first step, and after the ramp.
        num_ramp_steps (`int`): Optimizer steps before the first one with `batch_size`.
        num_steps (`int`): Optimizer steps of the whole training.
        batches_per_step (`int`, *optional*, defaults to 1): Accumulated batches times processes.
        seed (`int`, *optional*, defaults to 0): Of the order.

    Raises:
        ValueError: There are no rows.

    Example:

    >>> sampler = BatchRampSampler(8, initial_batch_size=1, batch_size=3, num_ramp_steps=4, num_steps=6)
    >>> [len(batch) for batch in sampler]
    [1, 1, 2, 2, 3, 3]
    """

    def __init__(
        self,
        num_rows: int,
        initial_batch_size: int,
        batch_size: int,
        num_ramp_steps: int,
        num_steps: int,
        batches_per_step: int = 1,
        seed: int = 0,
    ):
        if num_rows < 1:
            raise ValueError("`train_dataset` must have rows, got none. Check the input files.")
        self.num_rows = num_rows
        self.initial_batch_size = initial_batch_size
        # not `batch_size`: accelerate would take all batches for ones of that size
        self.full_batch_size = batch_size
        self.num_ramp_steps = num_ramp_steps
        self.num_steps = num_steps
        self.batches_per_step = batches_per_step
        self.seed = seed

    def batch_size_at(self, step: int) -> int:
        """Return the rows in each batch of an optimizer step, from 0."""
        added = (self.full_batch_size - self.initial_batch_size) * min(step, self.num_ramp_steps)
        return self.initial_batch_size + added // self.num_ramp_steps

    def rows_per_step(self, step: int) -> int:
        """Return the rows that all processes together take in an optimizer step."""
        return self.batches_per_step * self.batch_size_at(step)

    def rows_before(self, step: int) -> int:
        """Return the rows that all processes together take in the optimizer steps before this one."""
        in_ramp = min(step, self.num_ramp_steps)
        return sum(map(self.rows_per_step, range(in_ramp))) + (step - in_ramp) * self.rows_per_step(step)

    def __len__(self) -> int:
        return self.num_steps * self.batches_per_step

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        for step in range(self.num_steps):
            for _ in range(self.batches_per_step):
                yield list(islice(order, self.batch_size_at(step)))

    def _order(self) -> Iterator[int]:
        for number in count():
            rng = torch.Generator().manual_seed(hashed_seed(f"{self.seed},{number},rows"))
            yield from torch.randperm(self.num_rows, generator=rng).tolist()


def batch_ramp_loader(args: TrainingArguments, dataset: Dataset, collator: Callable) -> DataLoader:
    """
    Return the batches of all processes as [`ElectraPlusTrainingArguments`] ask for them, for accelerate to deal out.

    Raises:
        ValueError: The dataset is a stream, or has no rows.
    """
    if isinstance(dataset, IterableDataset):
        raise ValueError(
            f"`initial_train_batch_size` needs a dataset with a length, got the stream {type(dataset).__name__}. Prepare the rows "
            "with another rule than `stream`, or leave it out."
        )
    sampler = BatchRampSampler(
        len(dataset),
        args.initial_train_batch_size * max(1, args.n_gpu),
        args.train_batch_size,
        max(1, round(args.batch_size_ramp * args.max_steps)),
        args.max_steps,
        args.gradient_accumulation_steps * args.world_size,
        args.seed if args.data_seed is None else args.data_seed,
    )
    return DataLoader(  # for the rest as `Trainer` makes it
        dataset,
        batch_sampler=sampler,
        collate_fn=collator,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        multiprocessing_context=args.dataloader_multiprocessing_context,
        in_order=args.dataloader_in_order,
        worker_init_fn=partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index),
    )


def check_batch_ramp(args: TrainingArguments) -> None:
    """
    Check the arguments of a ramp against each other and against those of `transformers`.

    Raises:
        ValueError: They do not fit.
    """
    initial, ramp, full = args.initial_train_batch_size, args.batch_size_ramp, args.per_device_train_batch_size
    if initial is None and ramp is None:
        return
    if initial is None or ramp is None:
        raise ValueError(
            f"`initial_train_batch_size` and `batch_size_ramp` need each other, got {initial} and {ramp}. Give both or none."
        )
    if not 0 < initial < full:
        raise ValueError(
            f"`initial_train_batch_size` must be at least 1 and below `per_device_train_batch_size` ({full}), got {initial}."
        )
    if not 0 < ramp <= 1:
        raise ValueError(f"`batch_size_ramp` must be in (0, 1], a fraction of `max_steps`, got {ramp}.")
    if args.max_steps < 1:
        raise ValueError(f"`batch_size_ramp` needs `max_steps`, of which it is a fraction, got {args.max_steps}.")
    stock = {"auto_find_batch_size": False, "ignore_data_skip": False, "train_sampling_strategy": "random"}
    of_accelerate = {"split_batches": False, "dispatch_batches": None}
    for owner, wanted in ((args, stock), (args.accelerator_config, of_accelerate)):
        for name, value in wanted.items():
            if getattr(owner, name) not in (value, False):
                raise ValueError(f"`initial_train_batch_size` needs `{name}={value!r}`, got {getattr(owner, name)!r}.")
