"""Answers as spans of a context of any length, or none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.utils import ModelOutput

from electra_plus.data.example_files import Row
from electra_plus.metrics import load_metric
from electra_plus.pipelines.question_answering import best_spans
from electra_plus.recipes.tasks.task import Encoded, Task, probabilities

METRICS = ("squad", "squad_v2", "cmrc2018")
NUM_BEST = 5  # answers that a prediction lists


@dataclass
class QuestionAnswering(Task):
    r"""
    The likeliest span of the context, read in windows that overlap; "no answer" is a span of `[CLS]` alone.

    Departs from ELECTRA's own head, whose end depends on the start and which has a classifier for questions without an answer: start
    and end are scored apart, as in BERT and in transformers.

    Args:
        stride (`int`, *optional*, defaults to 128): Tokens that two windows on a context share.
        max_question_length (`int`, *optional*, defaults to 64): Longer questions are cut, in tokens.
        max_answer_length (`int`, *optional*, defaults to 30): Of a prediction, in tokens.
        null_threshold (`float`, *optional*, defaults to 0.0):
            The answer is empty where `[CLS]` has a score that is higher by more than this than the best span's.
        no_answer (`bool`, *optional*): Whether there may be no answer. `None` finds out from the training rows.
        score (`str`, *optional*): `"squad"`, `"squad_v2"` (with `no_answer`) or `"cmrc2018"` (Chinese). `None` finds out from the rows.
    """

    stride: int = 128
    max_question_length: int = 64
    max_answer_length: int = 30
    null_threshold: float = 0.0
    no_answer: bool | None = None
    score: str | None = None

    name: ClassVar[str] = "question-answering"
    model_class: ClassVar[str] = "ElectraPlusForQuestionAnswering"
    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    head: ClassVar[tuple[str, ...]] = ("qa_outputs.",)
    pipeline: ClassVar[str | None] = "question-answering"
    own_pipeline: ClassVar[str | None] = "extractive-qa"
    metrics: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    default_length: ClassVar[int] = 512
    training: ClassVar[dict[str, Any]] = {"num_train_epochs": 2}  # the paper's for SQuAD

    def __post_init__(self):
        if self.score is not None and self.score not in METRICS:
            raise ValueError(f"`score` must be one of {list(METRICS)}, got {self.score!r}.")
        for name in ("stride", "max_question_length", "max_answer_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 token, got {getattr(self, name)}.")

    def learn(self, examples: Sequence[Row]) -> None:
        if not any(example["answers"]["text"] for example in examples):
            raise ValueError(
                f"{examples[0].where}: `answers` is empty, here and in all {len(examples)} rows. Give some."
            )
        if self.no_answer is None:
            self.no_answer = any(not example["answers"]["text"] for example in examples)
        if self.score is None:
            self.score = "squad_v2" if self.no_answer else "cmrc2018" if _are_chinese(examples) else "squad"

    def check(self, examples: Sequence[Row]) -> None:
        if self.score is None:  # of a model that others trained
            self.learn(examples)
        if self.score == "squad_v2":
            return
        for example in examples:
            if not example["answers"]["text"]:
                raise ValueError(
                    f"{example.where}: `answers` is empty, which the score {self.score} has no place for. Leave the row out, or "
                    "give training rows without an answer too."
                )

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        """Return windows, and for each the number of its example, its first context token, and the characters of those."""
        if not tokenizer.is_fast:
            raise ValueError("`tokenizer` must be a fast one: others do not say where a token stands in the text.")
        longest = max(1, min(self.max_question_length, self.max_length // 2))
        questions, num_cut = [], 0
        heads = tokenizer(
            [example["question"] for example in examples],
            add_special_tokens=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        for example, offsets in zip(examples, heads["offset_mapping"], strict=True):
            num_cut += len(offsets) > longest
            end = offsets[longest - 1][1] if len(offsets) > longest else None
            questions.append(example["question"][:end])
        room = self.max_length - longest - 3
        encoded = tokenizer(
            questions,
            [example["context"] for example in examples],
            truncation="only_second",
            max_length=self.max_length,
            stride=min(self.stride, room // 2),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        rows, notes, num_windows = [], [], [0] * len(examples)
        trained = [False] * len(examples)
        for window, number in enumerate(encoded["overflow_to_sample_mapping"]):
            num_windows[number] += 1
            segments, offsets = encoded.sequence_ids(window), encoded["offset_mapping"][window]
            context = [index for index, segment in enumerate(segments) if segment == 1]
            first = context[0] if context else len(segments) - 1
            spans = [offsets[index] for index in context]
            row = {name: encoded[name][window] for name in ("input_ids", "token_type_ids") if name in encoded}
            if with_targets:
                start, end = _answer_tokens(examples[number]["answers"], spans)
                found = start is not None
                trained[number] |= found or not examples[number]["answers"]["text"]
                row |= {
                    "start_positions": first + start if found else 0,
                    "end_positions": first + end if found else 0,
                }
            rows.append(row)
            notes.append((number, first, spans))
        remarks = []
        if num_cut:
            remarks.append(f"{num_cut:,} questions are longer than {longest} tokens and were cut (max_question_length)")
        if several := sum(count > 1 for count in num_windows):
            remarks.append(
                f"{several:,} of {len(examples):,} contexts are longer than {self.max_length} tokens with the question and are read "
                f"in windows, {len(rows):,} in all"
            )
        if with_targets and (num_lost := trained.count(False)):
            remarks.append(f"{num_lost:,} answers stand in no window as a whole, and are not learned")
        return Encoded(rows, notes, remarks)

    def scores_of(self, outputs: ModelOutput) -> Tensor:
        return torch.stack((outputs["start_logits"], outputs["end_logits"]), dim=-1)

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        found: list[dict[tuple[int, int], float]] = [{} for _ in examples]  # a span of two windows keeps its better sum
        nothing = [np.inf] * len(examples)  # a context has no answer only if no window has
        for row, (number, first, spans) in zip(scores, encoded.notes, strict=True):
            start, end = torch.from_numpy(np.asarray(row, dtype=np.float32)).unbind(dim=-1)
            nothing[number] = min(nothing[number], float(start[0] + end[0]))
            if not spans:
                continue
            text = slice(first, first + len(spans))
            for score, begin, last in best_spans(start[text], end[text], self.max_answer_length):
                place = (spans[begin][0], spans[last][1])
                found[number][place] = max(score, found[number].get(place, score))
        return [
            self._answer(example["context"], each, null)
            for example, each, null in zip(examples, found, nothing, strict=True)
        ]

    def _answer(self, context: str, found: dict[tuple[int, int], float], null: float) -> dict[str, Any]:
        best = sorted(found, key=lambda place: -found[place])[:NUM_BEST]
        candidates = [
            {"text": context[start:end], "start": start, "end": end, "score": found[start, end]} for start, end in best
        ]
        top = candidates[0] if candidates else {"text": "", "start": 0, "end": 0, "score": -np.inf}
        difference = null - top["score"]
        if self.no_answer:
            candidates.append({"text": "", "start": 0, "end": 0, "score": null})
        empty = not candidates or (self.no_answer and difference > self.null_threshold)
        chances = probabilities(np.array([one["score"] for one in candidates] or [0.0]))
        for one, chance in zip(candidates, chances.tolist(), strict=False):
            one["probability"] = round(chance, 6)
            del one["score"]
        candidates.sort(key=lambda one: -one["probability"])
        prediction = {
            "prediction": "" if empty else top["text"],
            "start": 0 if empty else top["start"],
            "end": 0 if empty else top["end"],
            "n_best": candidates,
        }
        if self.no_answer:
            # what `null_threshold` is compared with, and the answer if there must be one
            prediction |= {"null_difference": round(min(difference, 1e9), 6), "best_answer": top["text"]}
        return prediction

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        # rows may lack ids, or share them between files
        golds = [
            {"id": str(number), "answers": {"text": answers["text"], "answer_start": answers["answer_start"]}}
            for number, answers in enumerate(example["answers"] for example in examples)
        ]
        if self.score != "squad_v2":
            texts = [{"id": str(n), "prediction_text": one["prediction"]} for n, one in enumerate(predictions)]
            return load_metric(self.score).compute(predictions=texts, references=golds)
        texts = [
            {
                "id": str(number),
                "prediction_text": one.get("best_answer", one["prediction"]),
                "no_answer_probability": _sigmoid(one["null_difference"]) if self.no_answer else 0.0,
            }
            for number, one in enumerate(predictions)
        ]
        metric = load_metric("squad_v2", no_answer_threshold=_sigmoid(self.null_threshold))
        scores = metric.compute(predictions=texts, references=golds)
        named = {"exact": "exact_match", "HasAns_f1": "f1_with_answer", "NoAns_f1": "f1_without_answer",
                 "best_f1": "best_f1"}  # fmt: skip
        found = {"f1": scores["f1"]} | {new: scores[old] for old, new in named.items() if old in scores}
        chance = min(max(scores["best_f1_thresh"], 1e-9), 1 - 1e-9)
        return found | {"best_f1_null_threshold": math.log(chance / (1 - chance))}


def _answer_tokens(answers: dict[str, list], spans: Sequence[tuple[int, int]]) -> tuple[int | None, int | None]:
    """Return the first and last token of the first answer that stands in a window as a whole, or `None` for both."""
    for text, begin in zip(answers["text"], answers["answer_start"], strict=True):
        begin += len(text) - len(text.lstrip())
        last = begin + len(text.strip())
        covered = [index for index, (start, end) in enumerate(spans) if start < last and end > begin]
        if covered and spans[covered[0]][0] <= begin and spans[covered[-1]][1] >= last:
            return covered[0], covered[-1]
    return None, None


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-min(max(value, -500.0), 500.0)))


def _are_chinese(examples: Sequence[Row]) -> bool:
    text = "".join(example["context"][:200] for example in examples[:50])
    return sum("\u3400" <= character <= "\u9fff" for character in text) > len(text) / 3
