"""Learning rate schedules that transformers does not have."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def original_multiplier(step: int, num_warmup_steps: int, num_training_steps: int, power: float = 1.0) -> float:
    """
    Return the multiplier of the learning rate after `step` optimizer steps.

    Warm-up and decay are multiplied, so the peak is lower than the learning rate and comes at the end of warm-up.

    Args:
        step (`int`): Steps taken.
        num_warmup_steps (`int`): Steps of the rise; 0 for none.
        num_training_steps (`int`): Steps of the whole run, after which it is 0.
        power (`float`, *optional*, defaults to 1.0): Of the decay; 1 is linear.

    Example:

    >>> [original_multiplier(step, num_warmup_steps=2, num_training_steps=4) for step in range(5)]
    [0.0, 0.375, 0.5, 0.25, 0.0]

    Source: google-research/electra, `model/optimization.py`, `create_optimizer`.
    """
    decay = max(0.0, 1.0 - step / max(1, num_training_steps)) ** power
    return decay * (min(1.0, step / num_warmup_steps) if num_warmup_steps else 1.0)


def original_schedule(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, power: float = 1.0
) -> LambdaLR:
    """Return a scheduler with [`original_multiplier`]."""
    return LambdaLR(optimizer, lambda step: original_multiplier(step, num_warmup_steps, num_training_steps, power))
