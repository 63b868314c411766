"""What the model cards are made with: data and their licences, the shapes of models, machines, scores and settings."""

import statistics
from dataclasses import dataclass

import torch
from transformers import EncoderDecoderModel

from electra_plus import ElectraPlusConfig, ElectraPlusForCausalLM, ElectraPlusModel
from electra_plus.hub import Dataset, Score, TrainingRecord
from electra_plus.hub.hardware import CORE_WATTS, GPU_WATTS
from electra_plus.hub.model_card import Reproduction
from electra_plus.hub.model_facts import ModelFacts, sizes_of
from electra_plus.hub.records import ARGUMENTS

ENGLISH_BOOKS = Dataset("classic-books-markdown, English books", rows=89, license="public domain in the USA")
ENGLISH_WIKIPEDIA = Dataset("English Wikipedia of 2013 to 2014, articles", rows=12_200, license="CC BY-SA 3.0")
CHINESE_TEXTS = [
    Dataset("Chinese Wikipedia, articles", rows=6_327, license="CC BY-SA"),
    Dataset("Classical-Modern, sentences of histories in modern Chinese", rows=139_405, license="MIT"),
    Dataset("three classical Chinese novels, paragraphs", rows=11_047, license="public domain"),
    Dataset("FewCLUE (csl, iflytek, eprstmt, tnews), texts", rows=45_542, license="academic use, no explicit licence"),
]
SAMPLES = [
    Dataset("books.txt.gz of electra_plus, English books", rows=10, license="public domain in the USA"),
    Dataset("reviews.txt.gz of electra_plus, film reviews (Pang and Lee 2004)", rows=1_400, license="CC BY 4.0"),
]
SENTENCES = "Sentiment Labelled Sentences (Kotzias et al. 2015)"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
FREE = {"license": "apache-2.0"}
RESEARCH = {"license": "other", "license_name": "research-use-only"}

# all-MiniLM-L6-v2's config.json, as far as it shapes weights
MINILM_CONFIG = {
    "model_type": "bert", "vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512,
}  # fmt: skip


@dataclass
class Card:
    """What a card is made of."""

    record: TrainingRecord
    facts: ModelFacts
    reproduction: Reproduction


def for_research(reason: str) -> str:
    """Say why a model may not be used freely."""
    return f"It is for research only: {reason}."


def facts_of(model_class: type, config: ElectraPlusConfig, labels: list[str] | None = None) -> ModelFacts:
    """
    Describe a model by its configuration: built without memory, its parameters are counted, what is tied once.

    Args:
        model_class (`type`): Its class; [`EncoderDecoderModel`] has an encoder and a decoder of the configuration.
        config ([`ElectraPlusConfig`]): Of the model.
        labels (`list[str]`, *optional*): Of a classifier or tagger.
    """
    with torch.device("meta"):
        if model_class is EncoderDecoderModel:
            fields = config.to_dict()
            decoder = ElectraPlusConfig.from_dict({**fields, "is_decoder": True, "add_cross_attention": True})
            model = EncoderDecoderModel(encoder=ElectraPlusModel(config), decoder=ElectraPlusForCausalLM(decoder))
        else:
            model = model_class(config)
    sizes = sizes_of(config.to_dict(), model_class.__name__)
    return ModelFacts(
        model_class.__name__, sum(weight.numel() for weight in model.parameters()), sizes, labels=labels or []
    )


def machine_of(found: dict, num_cores: int | None = None) -> dict:
    """
    Return what a result was measured on, as a training records it, with the watts of its busy parts.

    Args:
        found (`dict`): The result.
        num_cores (`int`, *optional*): Busy at a time; `None` is the threads of the result. A GPU is counted alone.
    """
    machine = found["machine"]
    threads = num_cores or machine["threads"]
    described = {"processor": machine["processor"], "threads": threads, "watts": CORE_WATTS * threads}
    if device := machine.get("device"):
        described |= {"device": device, "num_devices": 1, "watts": next(w for part, w in GPU_WATTS if part in device)}
    versions = {"electra_plus": machine["electra-plus"], **{name: machine[name] for name in ("torch", "transformers")}}
    return {**described, "versions": versions}


def score(dataset: str, split: str, metric: str, values: list[float]) -> Score:
    """Return mean and deviation of a score over runs."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Score(dataset, split, metric, statistics.mean(values), deviation, len(values))


def settings_of_training(batch_size: int, training: dict, **more) -> dict:
    """Return those of the training arguments that change a result."""
    given = {**training, **more}
    known = {name: given[name] for name in ARGUMENTS if given.get(name) or (name == "seed" and name in given)}
    others = {name: value for name, value in more.items() if name not in ARGUMENTS}
    return {"batch size": batch_size, **known, **others}


def steps_of_curve(curve: list[dict], logging_steps: int = 50) -> int:
    """
    Return the steps of a fine-tuning from the epochs of its log, which has a loss every so many steps.

    >>> steps_of_curve([{"epoch": 0.5, "loss": 2.0}, {"epoch": 3.0, "eval_loss": 1.0}])
    300
    """
    first = next(point["epoch"] for point in curve if "loss" in point)
    return round(logging_steps / first * curve[-1]["epoch"])
