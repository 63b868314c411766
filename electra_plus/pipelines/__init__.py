"""Pipelines that read texts of any length, and the names transformers 5 removed."""

import transformers
from transformers import AutoModelForQuestionAnswering, Pipeline, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY

from electra_plus.pipelines.long_text import LongTextClassificationPipeline, LongTokenClassificationPipeline
from electra_plus.pipelines.question_answering import ExtractiveQuestionAnsweringPipeline

# A task of transformers keeps its stock pipeline there; ours is used by `electra_plus.pipeline` alone.
PIPELINES: dict[str, type[Pipeline]] = {
    "text-classification": LongTextClassificationPipeline,
    "token-classification": LongTokenClassificationPipeline,
    "extractive-qa": ExtractiveQuestionAnsweringPipeline,
}
ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "question-answering": "extractive-qa",
}

PIPELINE_REGISTRY.register_pipeline(
    "extractive-qa",
    pipeline_class=ExtractiveQuestionAnsweringPipeline,
    pt_model=AutoModelForQuestionAnswering,
    type="text",
)


def pipeline(task: str | None = None, model: str | PreTrainedModel | None = None, **kwargs) -> Pipeline:
    """
    Return `transformers.pipeline` with our classes where we have one: they read texts of any length.

    Args:
        task (`str`, *optional*): A task of transformers, or `"extractive-qa"`, also by its old name `"question-answering"`.
        model (`str` or [`PreTrainedModel`], *optional*): Folder, Hub name or model, ours or stock.
        kwargs: Whatever `transformers.pipeline` takes, and the arguments of the pipeline's own call as defaults.

    Returns:
        [`~transformers.Pipeline`]

    Example:

    ```python
    electra_plus.pipeline("text-classification", "sentiment")(review, return_evidence=True)
    electra_plus.pipeline("question-answering", "squad")(question="Who wrote it?", context=book)
    ```
    """
    task = ALIASES.get(task, task)
    kwargs.setdefault("pipeline_class", PIPELINES.get(task))
    return transformers.pipeline(task, model=model, **kwargs)


__all__ = [
    "ExtractiveQuestionAnsweringPipeline",
    "LongTextClassificationPipeline",
    "LongTokenClassificationPipeline",
    "pipeline",
]
