"""Callbacks for the stock `Trainer`: the original's training log, and masks that a resumed run repeats."""

from torch.utils.data import IterableDataset
from transformers import TrainerCallback

from electra_plus.training.figures import PretrainingFigures


class PretrainingMetricsCallback(TrainerCallback):
    """
    Adds to every training log of the stock `Trainer` what the original code logs, averaged since the log before.

    The figures are those of [`PretrainingFigures.take`]. It listens to the model's outputs, so the stock `Trainer` needs no
    change; [`ElectraPlusTrainer`] does the same by itself. Put it first in `callbacks`, so that later ones see what it adds.
    """

    def __init__(self):
        self.figures = PretrainingFigures()

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.figures.reset()
        self.figures.attach(model)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is None or "loss" not in logs:
            return
        added = self.figures.take()
        logs.update(added)
        if state.log_history:
            state.log_history[-1].update(added)  # what trainer_state.json keeps

    def on_train_end(self, args, state, control, **kwargs):
        self.figures.detach()


class MaskingStepCallback(TrainerCallback):
    """
    Numbers the batches of a collator by the steps of the training, so that a resumed run masks as an uninterrupted one.

    Args:
        collator ([`DataCollatorForReplacedTokenDetection`]): The one the trainer uses.

    Raises:
        ValueError: When training begins: the collator's rows grow, and are a stream's on several processes.
    """

    def __init__(self, collator):
        self.collator = collator
        self._made_again = False

    def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
        streams = isinstance(train_dataloader.dataset, IterableDataset)
        if streams and args.world_size > 1 and self.collator.length_ramp is not None:
            # accelerate makes the batches of all processes in one, whose numbers run ahead, and joins them
            raise ValueError(
                f"`length_ramp` needs a dataset with a length on {args.world_size} processes, got a stream. Prepare the rows "
                "with another rule than `stream`, or leave it out."
            )
        # a stream's first batches are made again after a resume, and dropped
        self._made_again = streams and not args.ignore_data_skip

    def on_epoch_begin(self, args, state, control, **kwargs):
        # workers are copies made after this point, so they start from the same number
        self.collator.start_at(0 if self._made_again else state.global_step * args.gradient_accumulation_steps)
        self._made_again = False
