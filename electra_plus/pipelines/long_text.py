"""Classification and tagging of texts of any length: the stock pipelines, fed with chunks of whole sentences."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from transformers import Pipeline, TextClassificationPipeline, TokenClassificationPipeline
from transformers.pipelines.base import ChunkPipeline

from electra_plus.data.chunking import Chunk, chunk_text, chunked_row

Aggregation = Literal["mean", "max"]
OVERLAP = 32  # tokens that a tagger or a question answerer sees twice, for context at the borders of chunks


def chunk_length_of(pipe: Pipeline, given: int | None) -> int:
    """
    Return the tokens of a chunk: what the caller gave, or the longest row that model and tokenizer take.

    Raises:
        ValueError: The model has fewer positions.
    """
    positions = getattr(
        pipe.model.config, "max_position_embeddings", None
    )  # models with relative positions may have none
    longest = min(pipe.tokenizer.model_max_length, positions or pipe.tokenizer.model_max_length)
    if given is not None and given > longest:
        raise ValueError(f"`chunk_length` must be at most {longest} for this model and tokenizer, got {given}.")
    return longest if given is None else given


def tensors_of(pipe: Pipeline, chunk: Chunk) -> dict[str, torch.Tensor]:
    """Return a chunk as one row of what the model takes."""
    row = {
        "input_ids": chunk.input_ids,
        "attention_mask": [1] * len(chunk.input_ids),
        "token_type_ids": chunk.token_type_ids,
    }
    return {name: torch.tensor([values]) for name, values in row.items() if name in pipe.tokenizer.model_input_names}


def given(**arguments) -> dict[str, Any]:
    """Return the arguments that the caller gave; the others keep the defaults of the method that takes them."""
    return {name: value for name, value in arguments.items() if value is not None}


class LongTextClassificationPipeline(ChunkPipeline, TextClassificationPipeline):
    """
    Text classification of any length, which also says which passages decided.

    [`ElectraPlusForLongSequenceClassification`] reads all chunks of a text together. Any other classifier reads a text that
    fits as the stock pipeline does, and a longer one in chunks whose scores are aggregated. Nothing is ever cut off.
    """

    @property
    def _reads_chunks_together(self) -> bool:
        return type(self.model).__name__ == "ElectraPlusForLongSequenceClassification"

    def _sanitize_parameters(
        self, return_evidence=None, num_passages=None, chunk_length=None, overlap=None, aggregation=None, **kwargs
    ):
        if aggregation is not None and aggregation not in get_args(Aggregation):
            raise ValueError(f"`aggregation` must be one of {get_args(Aggregation)}, got {aggregation!r}.")
        if num_passages is not None and num_passages < 1:
            raise ValueError(f"`num_passages` must be at least 1, got {num_passages}.")
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        preprocess |= given(chunk_length=chunk_length, overlap=overlap)
        postprocess |= given(return_evidence=return_evidence, num_passages=num_passages, aggregation=aggregation)
        return preprocess, forward, postprocess

    def __call__(self, inputs: Any, **kwargs) -> list:
        """
        Classify one text or several.

        Args:
            inputs (`str`, `dict` or `list` of them): Texts of any length, or pairs `{"text": …, "text_pair": …}` that fit.
            return_evidence (`bool`, *optional*, defaults to `False`): Add the passages that decided.
            num_passages (`int`, *optional*, defaults to 3): How many of them, the weightiest first.
            chunk_length (`int`, *optional*):
                Most tokens of a chunk. `None` is `config.chunk_length` for a model that reads chunks together, else the
                longest row the model takes.
            overlap (`int`, *optional*, defaults to 0): Most tokens of whole sentences that two chunks share.
            aggregation (`str`, *optional*, defaults to `"mean"`):
                Of the chunks of a model that reads rows: `"mean"` of their logits, weighted by tokens, or `"max"` of each.
            top_k, function_to_apply: As in the stock pipeline.

        Returns:
            `list[dict]`: `label` and `score`; with `return_evidence` also `evidence`, dictionaries with `text`, `start` and
            `end` (characters of the input), and `score`: the passage's attention weight (all passages sum to 1), or, for a
            model that reads rows, the passage's own score for that label.
        """
        return super().__call__(inputs, **kwargs)

    def preprocess(
        self, inputs, chunk_length: int | None = None, overlap: int = 0, **tokenizer_kwargs
    ) -> Iterator[dict[str, Any]]:
        if tokenizer_kwargs or not isinstance(inputs, str):  # pairs, and texts cut as the caller says
            row = dict(super().preprocess(inputs, **tokenizer_kwargs))
            if self._reads_chunks_together:
                row["chunk_ids"] = torch.arange(row["input_ids"].shape[1])[None] // self.model.config.chunk_length
            yield {**row, "text": "", "spans": [], "is_last": True}
            return
        if self._reads_chunks_together:
            chunks = chunk_text(inputs, self.tokenizer, chunk_length or self.model.config.chunk_length, overlap)
            row = {name: torch.tensor([values]) for name, values in chunked_row(chunks).items()}
            row["attention_mask"] = torch.ones_like(row["input_ids"])
            yield {**row, "text": inputs, "spans": [chunk.span for chunk in chunks], "is_last": True}
            return
        chunks = chunk_text(inputs, self.tokenizer, chunk_length_of(self, chunk_length), overlap)
        for number, chunk in enumerate(chunks, start=1):
            yield {
                **tensors_of(self, chunk),
                "text": inputs,
                "spans": [chunk.span],
                "is_last": number == len(chunks),
            }

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        kept = {name: model_inputs.pop(name) for name in ("text", "spans", "is_last")}
        outputs = super()._forward(model_inputs)
        found = {"logits": outputs["logits"], "num_tokens": model_inputs["attention_mask"].sum(dim=1)}
        if "chunk_weights" in outputs:
            found["chunk_weights"] = outputs["chunk_weights"]
        return {**found, **kept}

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        return_evidence: bool = False,
        num_passages: int = 3,
        aggregation: Aggregation = "mean",
        **kwargs,
    ):
        logits = torch.cat([outputs["logits"] for outputs in model_outputs]).float()  # (num_rows, num_labels)
        num_tokens = torch.cat([outputs["num_tokens"] for outputs in model_outputs]).float()
        decided = logits.amax(dim=0) if aggregation == "max" else (num_tokens / num_tokens.sum()) @ logits
        answer = super().postprocess({"logits": decided[None]}, **kwargs)
        if return_evidence:
            text = model_outputs[0]["text"]
            spans = [span for outputs in model_outputs for span in outputs["spans"]]
            scores = self._passage_scores(model_outputs, kwargs.get("function_to_apply"))
            for found in answer if isinstance(answer, list) else [answer]:
                pairs = zip(scores[found["label"]], spans, strict=True)
                found["evidence"] = [
                    {"text": text[start:end], "start": start, "end": end, "score": score}
                    for score, (start, end) in sorted(pairs, key=lambda pair: -pair[0])[:num_passages]
                ]
        return answer

    def _passage_scores(self, model_outputs: list[dict], function_to_apply) -> dict[str, list[float]]:
        """Return for each label what each passage weighed, or its own score for the label."""
        if self._reads_chunks_together:
            (outputs,) = model_outputs
            weights = outputs["chunk_weights"][0, : len(outputs["spans"])].tolist()
            return dict.fromkeys(self.model.config.id2label.values(), weights)
        alone = {"function_to_apply": function_to_apply, "top_k": None, "_legacy": False}
        every = [
            {
                found["label"]: found["score"]
                for found in super(LongTextClassificationPipeline, self).postprocess(outputs, **alone)
            }
            for outputs in model_outputs
        ]
        return {label: [scores[label] for scores in every] for label in every[0]}


class LongTokenClassificationPipeline(TokenClassificationPipeline):
    """
    Tagging of any length: chunks of whole sentences that overlap, each entity found once.

    A text that fits gives what the stock pipeline gives. Arguments beside the stock ones, at call or construction:
    `chunk_length` (tokens; `None` is the longest row the model takes) and `overlap` (defaults to 32 tokens).
    """

    def _sanitize_parameters(self, chunk_length=None, overlap=None, **kwargs):
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        return preprocess | given(chunk_length=chunk_length, overlap=overlap), forward, postprocess

    def preprocess(
        self, sentence, offset_mapping=None, chunk_length: int | None = None, overlap: int | None = None, **params
    ):
        if not isinstance(sentence, str) or offset_mapping is not None or "tokenizer_params" in params:
            yield from super().preprocess(sentence, offset_mapping, **params)  # words, or the stock `stride`
            return
        length = chunk_length_of(self, chunk_length)
        chunks = chunk_text(sentence, self.tokenizer, length, min(OVERLAP, length // 4) if overlap is None else overlap)
        for number, chunk in enumerate(chunks, start=1):
            special = [int(index not in chunk.text_tokens) for index in range(len(chunk.input_ids))]
            yield {
                **tensors_of(self, chunk),
                "special_tokens_mask": torch.tensor([special]),
                "offset_mapping": torch.tensor([chunk.offsets]),
                "sentence": sentence,
                "is_last": number == len(chunks),
            }
