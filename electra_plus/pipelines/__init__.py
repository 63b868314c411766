"""Pipelines that read texts of any length, fast, and the names transformers 5 removed."""

import re

import transformers
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    Pipeline,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.pipelines import PIPELINE_REGISTRY

from electra_plus.pipelines.long_text import LongTextClassificationPipeline, LongTokenClassificationPipeline
from electra_plus.pipelines.onnx_model import OnnxModel, folder_arguments, is_onnx_folder
from electra_plus.pipelines.question_answering import ExtractiveQuestionAnsweringPipeline
from electra_plus.pipelines.replaced_tokens import AutoModelForReplacedTokenDetection, ReplacedTokenDetectionPipeline
from electra_plus.pipelines.translation import MachineTranslationPipeline
from electra_plus.registration import HEADS

# Tasks that transformers does not have: the class, and what loads its models. `transformers.pipeline` knows them too.
OWN_TASKS: dict[str, tuple[type[Pipeline], type]] = {
    "extractive-qa": (ExtractiveQuestionAnsweringPipeline, AutoModelForQuestionAnswering),
    "long-text-classification": (LongTextClassificationPipeline, AutoModelForSequenceClassification),
    "machine-translation": (MachineTranslationPipeline, AutoModelForSeq2SeqLM),
    "replaced-token-detection": (ReplacedTokenDetectionPipeline, AutoModelForReplacedTokenDetection),
}
# A task of transformers keeps its stock pipeline there; ours is used by `electra_plus.pipeline` alone.
PIPELINES: dict[str, type[Pipeline]] = {
    "text-classification": LongTextClassificationPipeline,
    "token-classification": LongTokenClassificationPipeline,
    **{task: pipeline_class for task, (pipeline_class, _) in OWN_TASKS.items()},
}
# What a class is for where transformers has no pipeline for it.
OWN_TASKS_OF_CLASSES = {
    "ElectraPlusForPreTraining": "replaced-token-detection",
    "ElectraPlusForReplacedTokenDetection": "replaced-token-detection",
    "ElectraPlusForLongSequenceClassification": "long-text-classification",
    "ElectraPlusForQuestionAnswering": "extractive-qa",
    "EncoderDecoderModel": "machine-translation",
    "ElectraPlusEncoderDecoderModel": "machine-translation",
}
ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "question-answering": "extractive-qa",
    "translation": "machine-translation",
}
TRANSLATION_OF_A_PAIR = re.compile(r"translation_(\w+)_to_(\w+)")  # a stock name until transformers 4

for _task, (_class, _loader) in OWN_TASKS.items():
    PIPELINE_REGISTRY.register_pipeline(_task, pipeline_class=_class, pt_model=_loader, type="text")
    # by this mark `save_pretrained` of a pipeline would copy its file, which does not work without this package
    del _class._registered_impl


def task_of_class(class_name: str) -> str | None:
    """
    Return the pipeline that a model class is for, `None` if there is none.

    Example:

    >>> task_of_class("ElectraPlusForQuestionAnswering"), task_of_class("ElectraPlusForTokenClassification")
    ('extractive-qa', 'token-classification')
    """
    stock = {head.class_name: head.pipelines[0] for head in HEADS if head.pipelines}
    return OWN_TASKS_OF_CLASSES.get(class_name) or stock.get(class_name)


def _task_of(model: str | PreTrainedModel | None, kwargs: dict) -> str | None:
    """Return the task of a model whose class is ours, `None` to let transformers ask the Hub."""
    if isinstance(model, PreTrainedModel):
        return task_of_class(type(model).__name__)
    if model is None:
        return None
    of_the_hub = {name: kwargs[name] for name in ("revision", "token") if kwargs.get(name) is not None}
    config = PreTrainedConfig.get_config_dict(model, **of_the_hub)[0]
    return task_of_class((config.get("architectures") or [""])[0])


def pipeline(task: str | None = None, model: str | PreTrainedModel | None = None, **kwargs) -> Pipeline:
    """
    Return `transformers.pipeline` with our classes where we have one: they read texts of any length.

    Args:
        task (`str`, *optional*):
            A task of transformers, `"replaced-token-detection"`, `"long-text-classification"`, `"extractive-qa"` (also by its
            old name `"question-answering"`) or `"machine-translation"` (`"translation"`). `None` is what the model is for.
        model (`str` or [`PreTrainedModel`], *optional*):
            Folder, Hub name or model, ours or stock; or a folder that `electra-plus export` wrote, which ONNX Runtime computes.
        kwargs: Whatever `transformers.pipeline` takes, and the arguments of the pipeline's own call as defaults.

    Returns:
        [`~transformers.Pipeline`]

    Example:

    ```python
    electra_plus.pipeline("text-classification", "sentiment")(review, return_evidence=True)
    electra_plus.pipeline("question-answering", "squad")(question="Who wrote it?", context=book)
    electra_plus.pipeline(model="joint")("the chef ate the meal")  # the joint model's task is replaced-token-detection
    ```
    """
    if task is None:
        task = _task_of(model, kwargs)
    if isinstance(task, str):
        task = "machine-translation" if TRANSLATION_OF_A_PAIR.fullmatch(task) else ALIASES.get(task, task)
    kwargs.setdefault("pipeline_class", PIPELINES.get(task))
    if is_onnx_folder(model):
        return transformers.pipeline(task, **folder_arguments(task, model, kwargs))
    return transformers.pipeline(task, model=model, **kwargs)


__all__ = [
    "AutoModelForReplacedTokenDetection",
    "ExtractiveQuestionAnsweringPipeline",
    "LongTextClassificationPipeline",
    "LongTokenClassificationPipeline",
    "MachineTranslationPipeline",
    "OnnxModel",
    "ReplacedTokenDetectionPipeline",
    "pipeline",
    "task_of_class",
]
