"""What is known of a model's training and scores: a json file beside the weights, from which its card is made."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

RECORD_FILE = "training_record.json"
# Of transformers' training arguments, what somebody who trains it again must know.
ARGUMENTS = (
    "learning_rate", "generator_learning_rate", "layerwise_lr_decay", "optim", "adam_beta1", "adam_beta2", "adam_epsilon",
    "weight_decay", "max_grad_norm", "lr_scheduler_type", "warmup_steps", "num_train_epochs", "max_steps", "regime", "seed",
    "bf16", "fp16",
)  # fmt: skip


@dataclass
class Dataset:
    """
    What a model was trained or scored on.

    Args:
        name (`str`): As people know it: a name on the Hub, or the last part of a path.
        split (`str`, *optional*, defaults to `"train"`).
        rows (`int`, *optional*): Examples, or rows of tokens.
        license (`str`, *optional*).
    """

    name: str
    split: str = "train"
    rows: int | None = None
    license: str | None = None


@dataclass
class Score:
    """
    A score on held-out data.

    Args:
        dataset (`str`), split (`str`), metric (`str`): What was measured on what.
        value (`float`): Mean over the seeds.
        deviation (`float`, *optional*): Over the seeds, `None` for one.
        num_seeds (`int`, *optional*, defaults to 1).
    """

    dataset: str
    split: str
    metric: str
    value: float
    deviation: float | None = None
    num_seeds: int = 1


@dataclass
class TrainingRecord:
    """
    All that is known of a training. Everything is optional: a card says what is not known.

    Args:
        task (`str`, *optional*): Such as `"text-classification"` or `"pretraining"`.
        base_model (`str`, *optional*): What it started from.
        datasets (`list[Dataset]`), scores (`list[Score]`): With what it was trained, and how well it does.
        hyperparameters (`dict`): By the names of the training arguments.
        num_steps (`int`, *optional*): Optimizer steps.
        seconds (`float`, *optional*): Of training, over all interruptions.
        clock (`str`, *optional*, defaults to `"wall"`): What the seconds are of: `"wall"`, or `"processor"`, summed over threads.
        flops (`float`, *optional*): Operations of training.
        machine (`dict`): What [`~electra_plus.hub.hardware.describe_machine`] says.
        license (`str`, *optional*), language (`str` or `list[str]`, *optional*): For the card's head.
        license_name (`str`, *optional*): A name for the licence `"other"`.
        remarks (`list[str]`): Sentences for the card.
        score_remarks (`list[str]`): Sentences below its scores.
        limits (`list[str]`): What it cannot do, for the card.
        example (`str`, *optional*): A text to try it on, for the card.
    """

    task: str | None = None
    base_model: str | None = None
    datasets: list[Dataset] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    num_steps: int | None = None
    seconds: float | None = None
    clock: str = "wall"
    flops: float | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    license: str | None = None
    license_name: str | None = None
    language: str | list[str] | None = None
    remarks: list[str] = field(default_factory=list)
    score_remarks: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    example: str | None = None

    @property
    def energy_kwh(self) -> float | None:
        """Estimated energy of the training in kilowatt hours: its time at the watts of the busy parts."""
        watts = self.machine.get("watts")
        return None if watts is None or self.seconds is None else watts * self.seconds / 3.6e6

    def with_answers(self, **answers: Any) -> "TrainingRecord":
        """Return a copy with what is not `None` in its place."""
        return dataclasses.replace(self, **{name: value for name, value in answers.items() if value is not None})

    @classmethod
    def of_model(cls, model: PreTrainedModel) -> "TrainingRecord":
        """Return the record of the folder that a model was loaded from; of a repository of the Hub, its name as the base."""
        name = getattr(model.config, "name_or_path", "") or ""
        if Path(name).is_dir():
            return cls.read(name)
        return cls(base_model=public_name(name) or None)

    @classmethod
    def read(cls, folder: str | Path) -> "TrainingRecord":
        """
        Read the record of a folder; one of which nothing is known if there is none.

        Raises:
            ValueError: The file is no record.
        """
        file = Path(folder) / RECORD_FILE
        if not file.is_file():
            return cls()
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            fields["datasets"] = [Dataset(**one) for one in fields.get("datasets", [])]
            fields["scores"] = [Score(**one) for one in fields.get("scores", [])]
            return cls(**fields)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"`{file}` is no training record ({error}). Delete it, or write it again.") from error

    def write(self, folder: str | Path) -> None:
        """Write the record into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{RECORD_FILE}.new"
        aside.write_text(json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        aside.replace(folder / RECORD_FILE)


def of_arguments(arguments: Any) -> dict[str, Any]:
    """
    Return the hyper-parameters among training arguments: what can change the result, where it is not off.

    Args:
        arguments ([`~transformers.TrainingArguments`]): Of a training.
    """
    found: dict[str, Any] = {
        "batch size": arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size
    }
    for name in ARGUMENTS:
        value = getattr(arguments, name, None)
        value = getattr(value, "value", value)  # of an enumeration
        is_off = value in (None, False, "", -1) and name != "seed"  # seed 0 is one
        if not is_off and not (name == "num_train_epochs" and arguments.max_steps > 0):
            found[name] = value
    return found


def public_name(name: str | Path) -> str:
    """Return the last part of a path, which is nobody's business but the author's; names on the Hub stay."""
    text = str(name)
    is_path = Path(text).exists() or Path(text).is_absolute() or text.startswith((".", "~")) or text.count("/") > 1
    return Path(text).name if is_path else text


__all__ = ["RECORD_FILE", "Dataset", "Score", "TrainingRecord", "of_arguments", "public_name"]
