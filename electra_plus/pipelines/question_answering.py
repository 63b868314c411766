"""Extractive question answering over contexts of any length."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from electra_plus.data.chunking import chunk_encoding, encode_texts, tokens_around
from electra_plus.pipelines.long_text import OVERLAP, chunk_length_of, given, row_of
from electra_plus.pipelines.token_budget import Row, TokenBudgetPipeline, shortened

MAX_CANDIDATES = 20  # of a chunk, as in SQuAD's usual evaluation


def best_spans(start_logits: Tensor, end_logits: Tensor, max_answer_length: int) -> list[tuple[float, int, int]]:
    r"""
    Return the likeliest answers of one chunk.

    Args:
        start_logits, end_logits (`torch.FloatTensor` of shape `(num_text_tokens,)`): Scores of the text's tokens.
        max_answer_length (`int`): Tokens.

    Returns:
        `list[tuple]`: sum of both logits, first and last token (inclusive), best first, at most 20.
    """
    if not len(start_logits):
        return []
    sums = start_logits[:, None] + end_logits[None, :]
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(max_answer_length - 1)
    sums = sums.masked_fill(~allowed, -torch.inf).flatten()
    scores, places = sums.topk(min(MAX_CANDIDATES, int(allowed.sum())))
    width = len(start_logits)
    return [
        (score, place // width, place % width) for score, place in zip(scores.tolist(), places.tolist(), strict=True)
    ]


def pairs_of(question: str | list[str] | None, context: str | list[str] | None) -> dict | list[dict]:
    """
    Return questions with their contexts, as dictionaries; a single one of either goes with all of the other.

    Raises:
        ValueError: Two lists of different lengths.
    """
    many = [len(texts) for texts in (question, context) if isinstance(texts, (list, tuple))]
    if not many:
        return {"question": question, "context": context}
    if len(set(many)) > 1:
        raise ValueError(f"`question` and `context` must be of one length, got {many[0]} and {many[1]}.")
    questions, contexts = (
        texts if isinstance(texts, (list, tuple)) else [texts] * many[0] for texts in (question, context)
    )
    return [{"question": one, "context": other} for one, other in zip(questions, contexts, strict=True)]


class ExtractiveQuestionAnsweringPipeline(TokenBudgetPipeline):
    """
    Find the answer to a question in a context of any length.

    The context is read in chunks of whole sentences that overlap, each after the question; answers of all chunks compete.
    Chunks of all questions are batched by length ([`TokenBudgetPipeline`]).
    """

    token_outputs = ("start_logits", "end_logits")
    model_unpacks = True
    kind_of_input = "a question with its context (`{'question': …, 'context': …}`)"

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        chunk_length: int | None = None,
        overlap: int | None = None,
        max_answer_length: int | None = None,
        handle_impossible_answer: bool | None = None,
    ):
        for name, value in (("top_k", top_k), ("max_answer_length", max_answer_length)):
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        postprocess = given(
            top_k=top_k, max_answer_length=max_answer_length, handle_impossible_answer=handle_impossible_answer
        )
        return given(chunk_length=chunk_length, overlap=overlap), {}, postprocess

    def __call__(
        self,
        inputs: Any = None,
        *,
        question: str | list[str] | None = None,
        context: str | list[str] | None = None,
        **kwargs,
    ):
        """
        Answer one question or several.

        Args:
            inputs (`dict`, or `list`, generator or dataset of them, *optional*):
                With `question` and `context`, instead of the two arguments.
            question, context (`str` or `list[str]`, *optional*):
                One question and the text that may hold its answer, of any length; or as many of each, or several of one.
            top_k (`int`, *optional*, defaults to 1): Answers to return; more than 1 gives a list, best first.
            chunk_length (`int`, *optional*): Tokens of a chunk with the question; `None` is the longest row the model takes.
            overlap (`int`, *optional*, defaults to 32): Most tokens of whole sentences that two chunks share.
            max_answer_length (`int`, *optional*, defaults to 30): Tokens.
            handle_impossible_answer (`bool`, *optional*, defaults to `False`): The empty answer competes too.
            batch_size, num_workers: As in [`TokenBudgetPipeline`].

        Returns:
            `dict` or `list[dict]`: `answer`, `start` and `end` (characters of the context), and `score` in (0, 1], which sums
            to 1 over the candidates of all chunks. A context without a single token gives the empty answer.

        Raises:
            ValueError: Question or context is missing or holds no text.
        """
        if inputs is None:
            inputs = pairs_of(question, context)
        elif question is not None or context is not None:
            raise ValueError(
                "`inputs` must hold `question` and `context`, got them beside it. Leave one of the two out."
            )
        return super().__call__(inputs, **kwargs)

    def _checked(self, one: Any, parameters: dict) -> Any:
        for name in ("question", "context"):
            value = one.get(name) if isinstance(one, dict) else None
            if not isinstance(value, str) or not value.strip():
                raise ValueError(
                    f"`{name}` must be a text with at least one word, got {shortened(value)}. Give {self.kind_of_input}."
                )
        return one

    def rows_of(self, window: list[dict[str, str]], preprocess_params: dict[str, Any]) -> list[list[Row]]:
        contexts = dict.fromkeys(one["context"] for one in window)  # many questions may share one
        encodings = dict(zip(contexts, encode_texts(list(contexts), self.tokenizer), strict=True))
        return [list(self.preprocess(one, encoding=encodings[one["context"]], **preprocess_params)) for one in window]

    def preprocess(
        self, inputs: dict[str, str], chunk_length: int | None = None, overlap: int | None = None, encoding=None
    ) -> Iterator[Row]:
        length = chunk_length_of(self, chunk_length)
        if overlap is None:
            overlap = min(OVERLAP, length // 8)
        if encoding is None:
            (encoding,) = encode_texts([inputs["context"]], self.tokenizer)
        around = tokens_around(self.tokenizer, inputs["question"])
        chunks = chunk_encoding(inputs["context"], encoding, around, length, overlap)
        for number, chunk in enumerate(chunks, start=1):
            yield {
                **row_of(self, chunk),
                "offsets": [chunk.offsets[index] for index in chunk.text_tokens],
                "first_token": chunk.text_tokens.start,
                "context": inputs["context"],
                "is_last": number == len(chunks),
            }

    def postprocess(
        self,
        model_outputs: list[Row],
        top_k: int = 1,
        max_answer_length: int = 30,
        handle_impossible_answer: bool = False,
    ):
        found: dict[tuple[int, int], float] = {}  # characters of the context; a span of two chunks keeps its better sum
        nothing = []
        for outputs in model_outputs:
            offsets, first = outputs["offsets"], outputs["first_token"]
            start_logits, end_logits = outputs["start_logits"][0].float(), outputs["end_logits"][0].float()
            text = slice(first, first + len(offsets))
            for score, begin, end in best_spans(start_logits[text], end_logits[text], max_answer_length):
                span = (offsets[begin][0], offsets[end][1])
                found[span] = max(score, found.get(span, score))
            nothing.append((start_logits[0] + end_logits[0]).item())
        if handle_impossible_answer or not found:
            # a chunk without the answer says so; the text has none only if every chunk does
            found[0, 0] = min(nothing)
        spans = sorted(found, key=lambda span: -found[span])
        scores = torch.tensor([found[span] for span in spans], dtype=torch.float64).softmax(dim=0).tolist()
        context = model_outputs[0]["context"]
        answers = [
            {"score": score, "start": start, "end": end, "answer": context[start:end]}
            for score, (start, end) in zip(scores, spans, strict=True)
        ]
        return answers[0] if top_k == 1 else answers[:top_k]
