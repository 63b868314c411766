"""The side of the trainer that the Hub sees: the model's card and code, and nothing pickled."""

import shutil
from pathlib import Path

from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from electra_plus.hub.callback import ModelCardCallback
from electra_plus.hub.carried_code import carry_code
from electra_plus.hub.records import Dataset


class PublishingTrainer(Trainer):
    """
    [`~transformers.Trainer`] whose `push_to_hub` uploads what anyone can open: the code of the model and a card of its training.

    `card.record` is the [`~electra_plus.hub.TrainingRecord`] behind the card, to be filled in further.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.card = ModelCardCallback(writes=False)
        self.add_callback(self.card)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """
        Write README.md in `output_dir` from what is known of the model and its training, and the model's code beside it.

        `push_to_hub` does so before it uploads.

        Args:
            language, license, model_name, finetuned_from, tasks, dataset:
                As for [`~transformers.Trainer.create_model_card`]. The others are accepted and not used.
        """
        names = [dataset] if isinstance(dataset, str) else dataset
        self.card.complete(
            self,
            model_name,
            language=language,
            license=license,
            base_model=finetuned_from,
            task=tasks if isinstance(tasks, str) else (tasks or [None])[0],
            datasets=[Dataset(name) for name in names] if names else None,
        )
        if (
            self.hub_model_id is not None and self.is_world_process_zero()
        ):  # nothing pickled is uploaded; the arguments stand in the record
            Path(self.args.output_dir, TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _add_code(self, checkpoint: Path, run_dir: Path) -> None:
        """Put the model's code into a checkpoint and where it is uploaded from: `Trainer` copies the other files itself."""
        carry_code(checkpoint)
        for file in checkpoint.glob("*.py"):
            shutil.copyfile(file, run_dir / file.name)
