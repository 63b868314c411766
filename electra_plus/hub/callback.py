"""A callback for any `Trainer` that keeps the record of a training and writes the model's card."""

import time
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

from electra_plus.folders import read_config
from electra_plus.hub.carried_code import auto_map_of, carry_code
from electra_plus.hub.hardware import describe_machine
from electra_plus.hub.model_card import ModelFacts, render_card, written_by_us
from electra_plus.hub.records import Dataset, Score, TrainingRecord, of_arguments, public_name

SPEEDS = ("_runtime", "_per_second")  # ends of names in evaluations that are no scores
# What the cards say that transformers writes: nobody's own words.
DRAFTS = ("This model card has been automatically generated", "This model card has been generated automatically")


class ModelCardCallback(TrainerCallback):
    """
    Keeps what a card needs to know while a `Trainer` trains, and writes `training_record.json` and README.md at the end.

    The time of a run that was interrupted is that of all its parts. With `trainer` given, `trainer.push_to_hub` uploads this card
    and the model's code, instead of the draft that transformers makes; [`ElectraPlusTrainer`] does so by itself.

    Args:
        datasets (`list[Dataset]`, *optional*): What it is trained on.
        task (`str`, *optional*): Such as `"text-classification"`.
        license (`str`, *optional*), language (`str` or `list[str]`, *optional*): For the card's head.
        base_model (`str`, *optional*): `None` is where the model was loaded from.
        trainer ([`~transformers.Trainer`], *optional*): The trainer that it is added to.
        writes (`bool`, *optional*, defaults to `True`): Write the card when training ends; else when asked.

    Example:

    ```python
    trainer = transformers.Trainer(model, arguments, train_dataset=rows)
    trainer.add_callback(ModelCardCallback([Dataset("me/reviews", rows=len(rows))], license="apache-2.0", trainer=trainer))
    trainer.train()
    trainer.push_to_hub()
    ```
    """

    def __init__(
        self,
        datasets: list[Dataset] | None = None,
        task: str | None = None,
        license: str | None = None,
        language: str | list[str] | None = None,
        base_model: str | None = None,
        trainer: Any = None,
        writes: bool = True,
    ):
        self.record = TrainingRecord(
            task=task,
            base_model=base_model and public_name(base_model),
            datasets=list(datasets or []),
            license=license,
            language=language,
        )
        self.writes = writes
        self._since: float | None = None
        self._before = 0.0  # seconds of the run's earlier parts
        if trainer is not None:
            trainer.create_model_card = self._card_of_trainer(trainer)

    def _card_of_trainer(self, trainer):
        def create_model_card(language=None, license=None, model_name=None, finetuned_from=None, **ignored):
            self.complete(trainer, model_name, language=language, license=license, base_model=finetuned_from)

        return create_model_card

    def complete(self, trainer: Any, name: str | None = None, **answers: Any) -> None:
        """Put card and code into the folder of a trainer, with what is not `None` among the answers in the record."""
        if trainer.is_world_process_zero():
            self.record = self.record.with_answers(**answers)
            complete_folder(trainer.args.output_dir, self.record, trainer.hub_model_id or name)

    # ---- events ----

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._since = time.perf_counter()
        self._before = 0.0
        if state.global_step and args.should_save:  # a run that goes on
            earlier = TrainingRecord.read(args.output_dir)
            self._before = earlier.seconds or 0.0
            self.record.scores = self.record.scores or earlier.scores
        self.record.hyperparameters = of_arguments(args)
        on_cpu = getattr(args.device, "type", "cpu") == "cpu"
        self.record.machine = describe_machine(args.world_size, on_cpu)
        if self.record.base_model is None and isinstance(model, PreTrainedModel):
            self.record.base_model = public_name(getattr(model.config, "name_or_path", "") or "") or None

    def on_save(self, args, state, control, **kwargs):
        self._update(state)
        if args.should_save:
            self.record.write(args.output_dir)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        named = self.record.datasets[0].name if self.record.datasets else "held out"
        found = [
            Score(named, "validation", name.removeprefix("eval_"), float(value))
            for name, value in (metrics or {}).items()
            if name.startswith("eval_") and isinstance(value, (int, float)) and not name.endswith(SPEEDS)
        ]
        others = [score for score in self.record.scores if (score.dataset, score.split) != (named, "validation")]
        self.record.scores = others + found

    def on_train_end(self, args, state, control, **kwargs):
        self._update(state)
        self._since = None
        if args.should_save:
            self.record.write(args.output_dir)
            if self.writes:
                write_card(args.output_dir, self.record)

    def _update(self, state) -> None:
        if self._since is not None:
            self.record.seconds = round(self._before + time.perf_counter() - self._since, 3)
        self.record.num_steps = state.global_step
        self.record.flops = float(state.total_flos) or None


def write_card(folder: str | Path, record: TrainingRecord, name: str | None = None) -> None:
    """
    Write the record and README.md of a folder that holds a model; a card that somebody changed stays.

    Args:
        folder (`str` or `Path`): Of the model; without a config.json only the record is written.
        record ([`TrainingRecord`]): Of its training.
        name (`str`, *optional*): What people open, `None` is the folder's name.
    """
    folder = Path(folder)
    record.write(folder)
    if (folder / "config.json").is_file():
        _write_card(folder, record, name)


def complete_folder(folder: str | Path, record: TrainingRecord | None = None, name: str | None = None) -> None:
    """
    Put the code into a folder that is about to be uploaded, and a card in place of transformers' draft.

    Args:
        folder (`str` or `Path`): What `save_pretrained` wrote.
        record ([`TrainingRecord`], *optional*): `None` knows nothing, and leaves a card of ours that may know more.
        name (`str`, *optional*): What people open, `None` is the folder's name.
    """
    config = read_config(folder, "folder")
    if auto_map_of(config):
        carry_code(folder)
    if record is not None:
        write_card(folder, record, name)
    elif _is_draft(Path(folder) / "README.md"):
        _write_card(Path(folder), TrainingRecord.read(folder), name)


def _write_card(folder: Path, record: TrainingRecord, name: str | None) -> None:
    card = folder / "README.md"
    if card.is_file() and not written_by_us(card.read_text(encoding="utf-8")) and not _is_draft(card):
        return
    facts = ModelFacts.of_folder(folder, read_config(folder, "folder"))
    aside = folder / ".README.md.new"
    aside.write_text(render_card(record, facts, name or folder.resolve().name), encoding="utf-8")
    aside.replace(card)


def _is_draft(card: Path) -> bool:
    """Say whether a card is missing, or one that transformers or huggingface_hub filled in by itself."""
    if not card.is_file():
        return True
    text = card.read_text(encoding="utf-8")
    return any(words in text for words in DRAFTS)


__all__ = ["ModelCardCallback", "complete_folder", "write_card"]
