"""
The scores of this folder as metrics of the library `evaluate`, without its downloads: one class and one row of METRICS each.

Names, formats and keys of results follow the Hub's metrics where it has them, so `load_metric` stands where `evaluate.load`
stood. This module imports `evaluate`; `electra_plus.metrics.load_metric` loads it when it is first called.

Differences from the Hub's:
- Options such as `average` may be given to `load_metric`, for `evaluate.evaluator` and `evaluate.combine` pass none on.
- Examples are kept in memory, so nothing is written and processes cannot meet in a file.
- A score that is undefined is 0, not NaN. An unknown option or id is an error.
- p-values, sample weights, F1 class by class and tag schemes other than IOB2 are left out.
"""

import reprlib
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import evaluate
import torch
from datasets import Features, List, Value

from electra_plus.metrics import classification
from electra_plus.metrics.answers import cmrc2018_scores, squad_scores, squad_v2_scores
from electra_plus.metrics.detection import detection_scores
from electra_plus.metrics.entities import entity_scores


def _pair_of(feature: Any) -> Features:
    return Features({"predictions": feature, "references": feature})


def _questions(**extra: Value) -> Features:
    """SQuAD's format; `answer_start` is not read, but every such dataset has it."""
    answers = {"text": List(Value("string")), "answer_start": List(Value("int64"))}
    return Features(
        {
            "predictions": {"id": Value("string"), "prediction_text": Value("string"), **extra},
            "references": {"id": Value("string"), "answers": answers},
        }
    )


NUMBERS = {"default": _pair_of(Value("float64"))}
# float64: an integer feature would cut 0.9 down to class 0 without a word
CLASSES = {**NUMBERS, "multilabel": _pair_of(List(Value("float64")))}
# evaluate takes the first format that fits: several references for each text, or one
TEXTS = {
    "default": [
        Features({"predictions": Value("string"), "references": List(Value("string"))}),
        _pair_of(Value("string")),
    ]
}


class OfflineMetric(evaluate.Metric):
    r"""
    Base of the metrics here: `_score` computes, and three attributes tell the rest.

    Attributes:
        inputs (`dict`): `config_name` to the features of predictions and references.
        options (`dict`): What `_score` takes besides them, with defaults.
        source (`str`): Paper or package.

    Args:
        config_name (`str`, *optional*, defaults to `"default"`): One of `inputs`, for instance `"multilabel"`.
        experiment_id (`str`, *optional*): A name that the processes of one evaluation share, and no others.
        num_process (`int`, *optional*, defaults to 1): Processes that add examples. Several meet in files of `cache_dir`.
        keep_in_memory (`bool`, *optional*): `None` keeps examples in memory if there is one process.
        process_id, cache_dir, timeout (seconds): As in [`~evaluate.Metric`].
        options: Values that `compute` takes instead of the defaults in `options`.

    Raises:
        ValueError: There is no such `config_name` or option, or several processes have no `experiment_id`.
    """

    inputs: Mapping[str, Features | Sequence[Features]] = {}
    options: Mapping[str, Any] = {}
    source = ""

    def __init__(
        self,
        config_name: str | None = None,
        experiment_id: str | None = None,
        num_process: int = 1,
        process_id: int = 0,
        keep_in_memory: bool | None = None,
        cache_dir: str | None = None,
        timeout: float = 100,
        **options,
    ):
        config_name = config_name or "default"
        if config_name not in self.inputs:
            raise ValueError(f"`config_name` must be one of {list(self.inputs)}, got {config_name!r}.")
        if num_process > 1 and experiment_id is None:
            raise ValueError(
                f"`num_process` ({num_process}) needs an `experiment_id` that its processes share. Name one for each run."
            )
        self.options = self._with_defaults(options)
        super().__init__(
            config_name=config_name,
            experiment_id=experiment_id,
            num_process=num_process,
            process_id=process_id,
            keep_in_memory=num_process == 1 if keep_in_memory is None else keep_in_memory,
            cache_dir=cache_dir,
            timeout=timeout,
        )

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__, citation=self.source, features=self.inputs[self.config_name]
        )

    def _compute(self, predictions, references, **options) -> dict[str, Any]:
        return self._score(predictions, references, **self._with_defaults(options))

    def _with_defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        for name in options:
            if name not in self.options:
                known = f"It has {', '.join(self.options)}." if self.options else "It has none."
                raise ValueError(f"`{name}` is no option of the metric {type(self).__name__}. {known}")
        return {**self.options, **options}

    def add_batch(self, *, predictions=None, references=None, **inputs) -> None:
        """Add a batch of predictions and references in the format of `features`, else raise a ValueError."""
        try:
            super().add_batch(predictions=predictions, references=references, **inputs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"`predictions` and `references` must be {self.features}, "
                f"got {reprlib.repr(predictions)} and {reprlib.repr(references)}: {reason}"
            ) from error

    def _build_data_dir(self) -> str:
        # the base class makes a folder in the user's cache even if nothing will be written
        return self._data_dir_root if self.keep_in_memory else super()._build_data_dir()

    def _finalize(self) -> None:
        if self.writer is None:
            raise ValueError(
                "`compute` got no examples. Give it `predictions` and `references`, or call `add_batch` first."
            )
        super()._finalize()


class Accuracy(OfflineMetric):
    """Fraction of predictions that equal the labels; of examples whose labels are all right if multi-label."""

    inputs = CLASSES

    def _score(self, predictions, references):
        if self.config_name == "multilabel":
            return {"accuracy": classification.multilabel_accuracy(predictions, references)}
        return {"accuracy": classification.accuracy(*_whole_numbers(predictions, references))}


class F1(OfflineMetric):
    """Harmonic mean of precision and recall: `average` is "binary", "macro", "micro", "weighted", multi-label "samples"."""

    inputs = CLASSES
    options = {"average": "binary", "pos_label": 1}

    def _score(self, predictions, references, average, pos_label):
        if self.config_name == "multilabel":
            return {"f1": classification.multilabel_f1(predictions, references, average)}
        return {"f1": classification.f1(*_whole_numbers(predictions, references), average, pos_label)}


class MatthewsCorrelation(OfflineMetric):
    """Matthews' correlation of two or more classes, in [-1, 1]."""

    inputs = NUMBERS
    source = "Matthews 1975, https://doi.org/10.1016/0005-2795(75)90109-9"

    def _score(self, predictions, references):
        return {"matthews_correlation": classification.matthews_correlation(*_whole_numbers(predictions, references))}


class Pearsonr(OfflineMetric):
    """Pearson's linear correlation, in [-1, 1]."""

    inputs = NUMBERS

    def _score(self, predictions, references):
        return {"pearsonr": classification.pearson_correlation(predictions, references)}


class Spearmanr(OfflineMetric):
    """Spearman's rank correlation, in [-1, 1]."""

    inputs = NUMBERS

    def _score(self, predictions, references):
        return {"spearmanr": classification.spearman_correlation(predictions, references)}


class Seqeval(OfflineMetric):
    """Precision, recall and F1 of whole entities, by type and overall; `mode="strict"` reads IOB2 to the letter."""

    inputs = {"default": _pair_of(List(Value("string")))}
    options = {"mode": None}
    source = "Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419"

    def _score(self, predictions, references, mode):
        if mode not in (None, "strict"):
            raise ValueError(f"`mode` must be None or 'strict', got {mode!r}.")
        return entity_scores(predictions, references, strict=mode == "strict")


class Squad(OfflineMetric):
    """Exact match and F1 of SQuAD 1.1, in percent."""

    inputs = {"default": _questions()}
    source = "Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250"

    def _score(self, predictions, references):
        return squad_scores(_in_order(predictions, references, "prediction_text"), _gold_texts(references))


class SquadV2(OfflineMetric):
    """Exact match and F1 of SQuAD 2.0, in percent, also of questions with and without an answer, and the best thresholds."""

    inputs = {"default": _questions(no_answer_probability=Value("float64"))}
    options = {"no_answer_threshold": 1.0}
    source = "Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822"

    def _score(self, predictions, references, no_answer_threshold):
        return squad_v2_scores(
            _in_order(predictions, references, "prediction_text"),
            _gold_texts(references),
            _in_order(predictions, references, "no_answer_probability"),
            no_answer_threshold,
        )


class Cmrc2018(OfflineMetric):
    """Exact match and F1 of Chinese answers, in percent, as CMRC 2018 has them."""

    inputs = {"default": _questions()}
    source = "Cui et al. 2019, https://arxiv.org/abs/1810.07366"

    def _score(self, predictions, references):
        return cmrc2018_scores(_in_order(predictions, references, "prediction_text"), _gold_texts(references))


class TextMetric(OfflineMetric):
    """Base of the metrics that the package sacrebleu computes."""

    inputs = TEXTS

    def __init__(self, *args, **options):
        _sacrebleu()  # a missing package is told before the texts are generated
        super().__init__(*args, **options)


class Sacrebleu(TextMetric):
    """BLEU of whole texts in percent, by the package sacrebleu; `tokenize="zh"` for Chinese."""

    options = {"tokenize": None, "lowercase": False, "smooth_method": "exp", "smooth_value": None, "force": False}
    source = "Post 2018, https://aclanthology.org/W18-6319"

    def _score(self, predictions, references, **options):
        result = _sacrebleu().BLEU(**options).corpus_score(predictions, _reference_streams(references))
        return {
            "score": result.score,
            "counts": result.counts,
            "totals": result.totals,
            "precisions": result.precisions,
            "bp": result.bp,
            "sys_len": result.sys_len,
            "ref_len": result.ref_len,
        }


class Chrf(TextMetric):
    """Character n-gram F-score of whole texts in percent, by the package sacrebleu; `word_order=2` is chrF++."""

    options = {"char_order": 6, "word_order": 0, "beta": 2, "lowercase": False, "whitespace": False}
    source = "Popović 2015, https://aclanthology.org/W15-3049"

    def _score(self, predictions, references, **options):
        result = _sacrebleu().CHRF(**options).corpus_score(predictions, _reference_streams(references))
        return {
            "score": result.score,
            "char_order": result.char_order,
            "word_order": result.word_order,
            "beta": result.beta,
        }


class ReplacedTokenDetection(OfflineMetric):
    """Accuracy, precision, recall, AUC and fraction replaced, of logits and labels (1, 0, else ignored) of each row."""

    inputs = {"default": Features({"predictions": List(Value("float32")), "references": List(Value("int64"))})}
    source = "Clark et al. 2020, https://arxiv.org/abs/2003.10555"

    def _score(self, predictions, references):
        for number, (logits, labels) in enumerate(zip(predictions, references, strict=True)):
            if len(logits) != len(labels):
                raise ValueError(
                    f"`predictions` and `references` must have one entry a token, got {len(logits)} and {len(labels)} "
                    f"in row {number}."
                )
        logits, labels = list(chain.from_iterable(predictions)), list(chain.from_iterable(references))
        return detection_scores(torch.tensor(logits), torch.tensor(labels))


METRICS: dict[str, type[OfflineMetric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "matthews_correlation": MatthewsCorrelation,
    "pearsonr": Pearsonr,
    "spearmanr": Spearmanr,
    "seqeval": Seqeval,
    "squad": Squad,
    "squad_v2": SquadV2,
    "cmrc2018": Cmrc2018,
    "sacrebleu": Sacrebleu,
    "chrf": Chrf,
    "replaced_token_detection": ReplacedTokenDetection,
}


def _whole_numbers(
    predictions: Sequence[float], references: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    for value in chain(predictions, references):
        if value % 1:  # also NaN and infinity
            raise ValueError(
                f"`predictions` and `references` must be classes 0, 1, …, got {value}. Take the argmax of scores."
            )
    return predictions, references


def _in_order(predictions: Sequence[dict], references: Sequence[dict], field: str) -> list:
    """A field of the predictions in the order of the references, by `id`."""
    by_id = {}
    for prediction in predictions:
        number, value = prediction["id"], prediction[field]
        if by_id.setdefault(number, value) != value:
            raise ValueError(
                f"`predictions` must have one answer for each id, got two for {number!r}. Keep the better one."
            )
    ids = [reference["id"] for reference in references]
    if by_id.keys() != set(ids):
        odd = sorted(by_id.keys() ^ set(ids))[0]
        raise ValueError(f"`predictions` and `references` must have the same ids, got {odd!r} on one side only.")
    return [by_id[number] for number in ids]


def _gold_texts(references: Sequence[dict]) -> list[list[str]]:
    return [reference["answers"]["text"] for reference in references]


def _reference_streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[tuple[str | None, ...]]:
    """All first references, all second ones, …, as sacrebleu wants them; `None` where a text has fewer."""
    references = [[texts] if isinstance(texts, str) else texts for texts in references]
    if not all(references):
        raise ValueError("`references` must hold at least one text for each prediction, got an empty list.")
    return list(zip_longest(*references))


def _sacrebleu():
    try:
        import sacrebleu.metrics
    except ImportError as error:
        raise ImportError("BLEU and chrF need the package sacrebleu: `pip install 'electra-plus[metrics]'`.") from error
    return sacrebleu.metrics
