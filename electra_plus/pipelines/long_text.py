"""Classification and tagging of texts of any length: the stock pipelines, fed with chunks of whole sentences."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from transformers import BatchEncoding, Pipeline, TextClassificationPipeline, TokenClassificationPipeline
from transformers.utils import logging

from electra_plus.data.chunking import (
    Chunk,
    chunk_encoding,
    chunked_row,
    encode_texts,
    tokens_around,
    without_surrogates,
)
from electra_plus.pipelines.token_budget import Row, TokenBudgetPipeline

logger = logging.get_logger(__name__)

Aggregation = Literal["mean", "max"]
COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")  # the first position is that after `pad_token_id`
OVERLAP = 32  # tokens that a tagger or a question answerer sees twice, for context at the borders of chunks


def longest_row(pipe: Pipeline) -> int:
    """Return the tokens of the longest row that model and tokenizer take; models with relative positions may know no limit."""
    positions = getattr(pipe.model.config, "max_position_embeddings", None)
    if positions is not None and pipe.model.config.model_type in COUNT_FROM_PADDING:
        positions -= pipe.model.config.pad_token_id + 1
    return min(pipe.tokenizer.model_max_length, positions or pipe.tokenizer.model_max_length)


def chunk_length_of(pipe: Pipeline, given: int | None) -> int:
    """
    Return the tokens of a chunk: what the caller gave, or the longest row that model and tokenizer take.

    Raises:
        ValueError: It is no number, or the model has fewer positions.
    """
    longest = longest_row(pipe)
    if given is None:
        return longest
    if not isinstance(given, int):
        raise ValueError(f"`chunk_length` must be a number of tokens, got {given!r}. Leave it out for {longest}.")
    if given > longest:
        raise ValueError(f"`chunk_length` must be at most {longest} for this model and tokenizer, got {given}.")
    return given


def row_of(pipe: Pipeline, chunk: Chunk) -> Row:
    """Return a chunk as a row for the model."""
    row = {"input_ids": chunk.input_ids, "token_type_ids": chunk.token_type_ids}
    return {name: values for name, values in row.items() if name in pipe.tokenizer.model_input_names}


def say_what_was_cut(encoded: BatchEncoding, longest: int) -> None:
    """
    Warn if the tokenizer cut rows on the caller's wish.

    Raises:
        ValueError: A row is longer than the model takes.
    """
    width = encoded["input_ids"].shape[-1]
    if width > longest:
        raise ValueError(
            f"An input that is no single text (a pair, words) has {width} tokens, but this model takes {longest}. "
            "Shorten it or pass `truncation=True`."
        )
    if any(row.overflowing for row in encoded.encodings or ()):
        logger.warning(
            f"A text was cut to {width} tokens; what follows was not read. Without `truncation` all of it is."
        )


def given(**arguments) -> dict[str, Any]:
    """Return the arguments that the caller gave; the others keep the defaults of the method that takes them."""
    return {name: value for name, value in arguments.items() if value is not None}


class LongTextClassificationPipeline(TextClassificationPipeline, TokenBudgetPipeline):
    """
    Text classification of any length, which also says which passages decided.

    [`ElectraPlusForLongSequenceClassification`] reads all chunks of a text together. Any other classifier reads a text that
    fits as the stock pipeline does, and a longer one in chunks whose scores are aggregated. Nothing is cut off unasked.
    Texts are batched by length ([`TokenBudgetPipeline`]).
    """

    row_outputs = ("logits", "chunk_weights")
    _forward = TokenBudgetPipeline._forward
    kind_of_input = "a text (`str`), or a pair (`{'text': …, 'text_pair': …}`),"

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
            inputs (`str`, `dict`, or `list`, generator or dataset of them):
                Texts of any length, or pairs `{"text": …, "text_pair": …}` that fit.
            return_evidence (`bool`, *optional*, defaults to `False`): Add the passages that decided.
            num_passages (`int`, *optional*, defaults to 3): How many of them, the weightiest first.
            chunk_length (`int`, *optional*):
                Most tokens of a chunk. `None` is `config.chunk_length` for a model that reads chunks together, else the
                longest row the model takes.
            overlap (`int`, *optional*, defaults to 0): Most tokens of whole sentences that two chunks share.
            aggregation (`str`, *optional*, defaults to `"mean"`):
                Of the chunks of a model that reads rows: `"mean"` of their logits, weighted by tokens, or `"max"` of each.
            top_k, function_to_apply: As in the stock pipeline.
            batch_size, num_workers: As in [`TokenBudgetPipeline`].

        Returns:
            `list[dict]`: `label` and `score`; with `return_evidence` also `evidence`, dictionaries with `text`, `start` and
            `end` (characters of the input), and `score`: the passage's attention weight (all passages sum to 1), or, for a
            model that reads rows, the passage's own score for that label. For a generator or dataset an iterator.
        """
        return super().__call__(inputs, **kwargs)

    def _checked(self, one: Any, parameters: dict) -> Any:
        pair = (
            one[0] if isinstance(one, list) and len(one) == 1 else None
        )  # the stock pipeline's older way, [[text, pair]]
        if isinstance(pair, list) and len(pair) == 2:
            one = {"text": pair[0], "text_pair": pair[1]}
        if isinstance(one, dict):
            if not {"text"} <= one.keys() <= {"text", "text_pair"} or not all(isinstance(t, str) for t in one.values()):
                raise ValueError(f"A pair must hold the texts `text` and `text_pair`, got {sorted(one, key=str)}.")
            return {name: without_surrogates(text) for name, text in one.items()}
        return super()._checked(one, parameters)

    def rows_of(self, window: list[Any], preprocess_params: dict[str, Any]) -> list[list[Row]]:
        if not preprocess_params.keys() <= {"chunk_length", "overlap"}:
            return super().rows_of(window, preprocess_params)
        places = [place for place, one in enumerate(window) if isinstance(one, str)]
        encodings = dict(zip(places, encode_texts([window[place] for place in places], self.tokenizer), strict=True))
        around = tokens_around(self.tokenizer)
        return [
            list(self.preprocess(one, encoded=(encodings[place], around), **preprocess_params))
            if place in encodings
            else list(self.preprocess(one))
            for place, one in enumerate(window)
        ]

    def preprocess(
        self, inputs, chunk_length: int | None = None, overlap: int = 0, encoded=None, **tokenizer_kwargs
    ) -> Iterator[Row]:
        if tokenizer_kwargs or not isinstance(inputs, str):  # pairs, and texts cut as the caller says
            texts = {"text": without_surrogates(inputs)} if isinstance(inputs, str) else inputs
            encoded = self.tokenizer(**texts, return_tensors="pt", **tokenizer_kwargs)
            row = dict(encoded)
            if self._reads_chunks_together:
                row["chunk_ids"] = torch.arange(row["input_ids"].shape[1])[None] // self.model.config.chunk_length
            else:
                say_what_was_cut(encoded, longest_row(self))
            yield {**row, "text": "", "spans": [], "is_last": True}
            return
        if encoded is None:
            encoded = encode_texts([inputs], self.tokenizer)[0], tokens_around(self.tokenizer)
        if self._reads_chunks_together:
            chunks = chunk_encoding(inputs, *encoded, chunk_length or self.model.config.chunk_length, overlap)
            yield {
                **chunked_row(chunks),
                "text": inputs,
                "spans": [chunk.span for chunk in chunks],
                "is_last": True,
            }
            return
        chunks = chunk_encoding(inputs, *encoded, chunk_length_of(self, chunk_length), overlap)
        for number, chunk in enumerate(chunks, start=1):
            yield {**row_of(self, chunk), "text": inputs, "spans": [chunk.span], "is_last": number == len(chunks)}

    def postprocess(
        self,
        model_outputs: list[Row],
        return_evidence: bool = False,
        num_passages: int = 3,
        aggregation: Aggregation = "mean",
        **kwargs,
    ):
        if len(model_outputs) == 1:
            decided = model_outputs[0]["logits"].float()
        else:
            logits = torch.cat([outputs["logits"] for outputs in model_outputs]).float()  # (num_rows, num_labels)
            num_tokens = torch.tensor([float(len(outputs["input_ids"])) for outputs in model_outputs])
            decided = logits.amax(dim=0) if aggregation == "max" else (num_tokens / num_tokens.sum()) @ logits
            decided = decided[None]
        answer = TextClassificationPipeline.postprocess(self, {"logits": decided}, **kwargs)
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

    def _passage_scores(self, model_outputs: list[Row], function_to_apply) -> dict[str, list[float]]:
        """Return for each label what each passage weighed, or its own score for the label."""
        if self._reads_chunks_together:
            (outputs,) = model_outputs
            weights = outputs["chunk_weights"][0, : len(outputs["spans"])].tolist()
            return dict.fromkeys(self.model.config.id2label.values(), weights)
        spans = [outputs for outputs in model_outputs if outputs["spans"]]  # a pair has no passages
        alone = {"function_to_apply": function_to_apply, "top_k": None, "_legacy": False}
        every = [
            {found["label"]: found["score"] for found in TextClassificationPipeline.postprocess(self, outputs, **alone)}
            for outputs in spans
        ]
        return {label: [scores[label] for scores in every] for label in self.model.config.id2label.values()}


class LongTokenClassificationPipeline(TokenClassificationPipeline, TokenBudgetPipeline):
    """
    Tagging of any length: chunks of whole sentences that overlap, each entity found once.

    A text that fits gives what the stock pipeline gives. Arguments beside the stock ones, at call or construction:
    `chunk_length` (tokens; `None` is the longest row the model takes), `overlap` (defaults to 32 tokens), and those of
    [`TokenBudgetPipeline`].
    """

    token_outputs = ("logits",)
    _forward = TokenBudgetPipeline._forward
    kind_of_input = "a text (`str`), or words (`list`) with `is_split_into_words=True`,"

    def _sanitize_parameters(self, chunk_length=None, overlap=None, **kwargs):
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        return preprocess | given(chunk_length=chunk_length, overlap=overlap), forward, postprocess

    def __call__(self, inputs: Any, **kwargs) -> Any:
        """Tag one text or several: a list for a list, an iterator for anything else that can be iterated."""
        if isinstance(inputs, (list, tuple)) and not inputs:
            return []
        if not isinstance(inputs, (str, list, tuple)):
            # the stock pipeline's check knows fewer kinds of streams
            return TokenBudgetPipeline.__call__(self, inputs, **kwargs)
        return super().__call__(inputs, **kwargs)

    def _checked(self, one: Any, parameters: dict) -> Any:
        if parameters.get("is_split_into_words"):
            if not isinstance(one, list) or not one or not all(isinstance(word, str) for word in one):
                raise ValueError(
                    f"With `is_split_into_words` an input must be a list of at least one word, got {type(one).__name__}."
                )
            return [without_surrogates(word) for word in one]
        return super()._checked(one, parameters)

    def rows_of(self, window: list[Any], preprocess_params: dict[str, Any]) -> list[list[Row]]:
        if not self._reads_chunks(preprocess_params):
            return super().rows_of(window, preprocess_params)
        around = tokens_around(self.tokenizer)
        return [
            list(self.preprocess(text, encoded=(encoding, around), **preprocess_params))
            for text, encoding in zip(window, encode_texts(window, self.tokenizer), strict=True)
        ]

    def _reads_chunks(self, parameters: dict) -> bool:
        """Whether texts are chunked here; words and the stock `stride` go the stock way."""
        return not (parameters.get("is_split_into_words") or {"offset_mapping", "tokenizer_params"} & parameters.keys())

    def preprocess(
        self,
        sentence,
        offset_mapping=None,
        chunk_length: int | None = None,
        overlap: int | None = None,
        encoded=None,
        **params,
    ) -> Iterator[Row]:
        if offset_mapping is not None or not self._reads_chunks(params):
            yield from self._stock_rows(sentence, offset_mapping, params)
            return
        length = chunk_length_of(self, chunk_length)
        if encoded is None:
            encoded = encode_texts([sentence], self.tokenizer)[0], tokens_around(self.tokenizer)
        chunks = chunk_encoding(sentence, *encoded, length, min(OVERLAP, length // 4) if overlap is None else overlap)
        for number, chunk in enumerate(chunks, start=1):
            special = [int(index not in chunk.text_tokens) for index in range(len(chunk.input_ids))]
            yield {
                **row_of(self, chunk),
                "special_tokens_mask": torch.tensor([special]),
                "offset_mapping": torch.tensor([chunk.offsets]),
                "sentence": sentence,
                "is_last": number == len(chunks),
            }

    def _stock_rows(self, sentence, offset_mapping, params: dict) -> Iterator[Row]:
        if isinstance(sentence, str):
            sentence = without_surrogates(sentence)
        last = None
        for row in super().preprocess(sentence, offset_mapping, **params):
            last = row["input_ids"].shape[-1]
            yield row
        if "tokenizer_params" not in params or not params["tokenizer_params"].get("return_overflowing_tokens"):
            words = params.get("is_split_into_words", False)
            whole = self.tokenizer(sentence, is_split_into_words=words, verbose=False)["input_ids"]
            if last is not None and len(whole) > last:
                logger.warning(
                    f"A text of {len(whole)} tokens was cut to {last}; what follows was not tagged. Pass it as one text "
                    "(`str`), which is read in chunks, or pass `stride`."
                )

    def postprocess(self, all_outputs: list[Row], *args, **kwargs):
        for outputs in all_outputs:
            for name in ("input_ids", "special_tokens_mask"):
                outputs[name] = torch.as_tensor(outputs[name]).reshape(1, -1)
            outputs.setdefault("offset_mapping", None)
        return super().postprocess(all_outputs, *args, **kwargs)
