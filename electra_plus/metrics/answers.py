"""
Scores of extracted answers, as the official scripts of SQuAD 1.1, SQuAD 2.0 and CMRC 2018 compute them, in percent.

A question may have several gold answers; the best match counts. Two departures: every question needs a prediction (an empty
one if there is no answer), and CMRC's answers are cut into words by a rule of our own, see [`cmrc2018_scores`].
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
DROP_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
# CMRC's list. Its "……" never matches, for the script compares single characters, and "‘" is missing: both stay.
DROP_CMRC_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CHINESE_CHARACTER = "[\u4e00-\u9fa5]"
# What is a word of its own, wherever it stands; spaces part the rest.
CMRC_WORDS = re.compile(
    rf"""
    {CHINESE_CHARACTER} | [;@#$%&?!()\[\]{{}}<>"„‘«»–—―] | \.{{2,}}
    | (?<!\w)' | 's?(?!\w)                     # an apostrophe that is no letter of a word, and 's
    | ,(?!\d)                                  # no part of a number
    | \.(?=\s*(?:{CHINESE_CHARACTER}|$))        # the full stop of what is not Chinese
    """,
    re.VERBOSE,
)


def normalize_answer(text: str) -> str:
    """
    Return the text without capitals, ASCII punctuation, English articles and repeated spaces, as SQuAD compares answers.

    >>> normalize_answer("The  U.S. (a country)")
    'us country'
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(DROP_ASCII_PUNCTUATION)).split())


def squad_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    r"""
    Score answers of SQuAD 1.1, where every question has one.

    Args:
        predictions (sequence of `num_questions` `str`): One answer a question.
        answers (sequence of `num_questions` sequences of `str`): Gold answers, at least one a question.

    Returns:
        `dict`: `exact_match` and `f1`, in percent.

    Raises:
        ValueError: Numbers differ, are 0, or a question has no gold answer.

    Example:

    >>> squad_scores(["the cat", "a black dog"], [["Cat."], ["dog", "dogs"]])  # F1 of the second: 2/3
    {'exact_match': 50.0, 'f1': 83.33333333333333}

    Source: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1, and its evaluate-v1.1.py.
    """
    _check_questions(predictions, answers)
    _check_answerable(answers, "Score it as SQuAD 2.0 (`squad_v2`).")
    exact = _best_matches(_exact, predictions, answers)
    f1 = _best_matches(_word_f1, predictions, answers)
    return {"exact_match": _percent(exact), "f1": _percent(f1)}


def squad_v2_scores(
    predictions: Sequence[str],
    answers: Sequence[Sequence[str]],
    no_answer_probabilities: Sequence[float] | None = None,
    no_answer_threshold: float = 1.0,
) -> dict[str, float]:
    r"""
    Score answers of SQuAD 2.0, where some questions have none and `""` is then the right prediction.

    Args:
        predictions (sequence of `num_questions` `str`): One answer a question, `""` for "there is none".
        answers (sequence of `num_questions` sequences of `str`): Gold answers; an empty sequence if there is none.
        no_answer_probabilities (sequence of `num_questions` `float`, *optional*):
            How sure it is that there is no answer. Any scale will do if the threshold has the same.
        no_answer_threshold (`float`, *optional*, defaults to 1.0):
            A prediction counts as empty where the probability is greater; 1.0 leaves all as they are.

    Returns:
        `dict`: `exact` and `f1` in percent and `total`, the number of questions; the same with the prefix `HasAns_` for
        questions that have an answer and `NoAns_` for the others, unless there are none. With `no_answer_probabilities`
        also `best_exact`, `best_f1` (percent) and `best_exact_thresh`, `best_f1_thresh`, which they need.

    Raises:
        ValueError: Numbers differ or are 0.

    Example:

    >>> scores = squad_v2_scores(["the cat", "a dog"], [["Cat."], []], no_answer_probabilities=[0.1, 0.9])
    >>> scores["exact"], scores["HasAns_exact"], scores["NoAns_exact"]
    (50.0, 100.0, 0.0)
    >>> scores["best_exact"], scores["best_exact_thresh"]
    (100.0, 0.1)

    Source: Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822, and its evaluate-v2.0.py. As there, the best threshold
    is looked for question by question, even between equal probabilities.
    """
    _check_questions(predictions, answers)
    has_answer = [bool(golds) for golds in answers]
    # a gold answer like "the" is empty once normalised, and then the empty one is right
    answers = [[gold for gold in golds if normalize_answer(gold)] or [""] for golds in answers]
    exact = _best_matches(_exact, predictions, answers)
    f1 = _best_matches(_word_f1_or_both_empty, predictions, answers)
    best = {}
    if no_answer_probabilities is not None:
        if len(no_answer_probabilities) != len(predictions):
            raise ValueError(
                f"`no_answer_probabilities` must be one a question, got {len(no_answer_probabilities)} for {len(predictions)}."
            )
        for name, scores in (("exact", exact), ("f1", f1)):
            best[f"best_{name}"], best[f"best_{name}_thresh"] = _best_threshold(
                scores, predictions, has_answer, no_answer_probabilities
            )
        exact = _with_threshold(exact, has_answer, no_answer_probabilities, no_answer_threshold)
        f1 = _with_threshold(f1, has_answer, no_answer_probabilities, no_answer_threshold)
    result = {"exact": _percent(exact), "f1": _percent(f1), "total": len(exact)}
    for prefix, wanted in (("HasAns", True), ("NoAns", False)):
        places = [place for place, answerable in enumerate(has_answer) if answerable == wanted]
        if places:
            result[f"{prefix}_exact"] = _percent([exact[place] for place in places])
            result[f"{prefix}_f1"] = _percent([f1[place] for place in places])
            result[f"{prefix}_total"] = len(places)
    return {**result, **best}


def cmrc2018_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    r"""
    Score Chinese answers of CMRC 2018; also used for DRCD.

    Exact match compares the texts without capitals and punctuation. F1 counts the longest run of words they share, a
    Chinese character being a word.

    Args:
        predictions (sequence of `num_questions` `str`): One answer a question.
        answers (sequence of `num_questions` sequences of `str`): Gold answers, at least one a question.

    Returns:
        `dict`: `exact_match`, `f1` and `average`, the mean of both, in percent.

    Raises:
        ValueError: Numbers differ, are 0, or a question has no gold answer.

    Example:

    >>> cmrc2018_scores(["《红楼梦》", "北京大学"], [["红楼梦"], ["在北京"]])  # F1 of the second: 2 of 4 and 2 of 3 words
    {'exact_match': 50.0, 'f1': 78.57142857142857, 'average': 64.28571428571428}

    Source: Cui et al. 2019, https://arxiv.org/abs/1810.07366, section 3, and its cmrc2018_evaluate.py. That script cuts what
    is not Chinese with nltk's `word_tokenize`; ours cuts at spaces, signs and "'s", but leaves "don't" whole and keeps one
    kind of double quotes. Of 60,279 phrases of CMRC 2018 and DRCD 7 differ otherwise.
    """
    _check_questions(predictions, answers)
    _check_answerable(answers, "Leave such questions out.")
    exact = _best_matches(_cmrc_exact, predictions, answers)
    f1 = _best_matches(_cmrc_f1, predictions, answers)
    scores = {"exact_match": _percent(exact), "f1": _percent(f1)}
    return {**scores, "average": (scores["exact_match"] + scores["f1"]) / 2}


def _check_questions(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> None:
    if len(predictions) != len(answers) or not len(answers):
        raise ValueError(
            "`predictions` and `answers` must have one entry a question and at least one question, "
            f"got {len(predictions)} and {len(answers)}."
        )


def _check_answerable(answers: Sequence[Sequence[str]], cure: str) -> None:
    for number, golds in enumerate(answers):
        if not golds:
            raise ValueError(
                f"`answers` must hold at least one text a question, got none for question {number}. {cure}"
            )


def _best_matches(
    score: Callable[[str, str], float], predictions: Sequence[str], answers: Sequence[Sequence[str]]
) -> list[float]:
    return [
        max(score(prediction, gold) for gold in golds) for prediction, golds in zip(predictions, answers, strict=True)
    ]


def _percent(scores: Sequence[float]) -> float:
    return 100 * sum(scores) / len(scores)


def _exact(prediction: str, gold: str) -> float:
    return float(normalize_answer(prediction) == normalize_answer(gold))


def _word_f1(prediction: str, gold: str) -> float:
    predicted, expected = normalize_answer(prediction).split(), normalize_answer(gold).split()
    num_common = (Counter(predicted) & Counter(expected)).total()
    return _f1(num_common, len(predicted), len(expected))


def _word_f1_or_both_empty(prediction: str, gold: str) -> float:
    if not normalize_answer(prediction) and not normalize_answer(gold):
        return 1.0
    return _word_f1(prediction, gold)


def _f1(num_common: int, num_predicted: int, num_expected: int) -> float:
    return 2 * num_common / (num_predicted + num_expected) if num_common else 0.0


def _with_threshold(
    scores: Sequence[float], has_answer: Sequence[bool], probabilities: Sequence[float], threshold: float
) -> list[float]:
    """The scores where a prediction becomes empty if its no-answer probability is above the threshold."""
    return [
        float(not answerable) if probability > threshold else score
        for score, answerable, probability in zip(scores, has_answer, probabilities, strict=True)
    ]


def _best_threshold(
    scores: Sequence[float], predictions: Sequence[str], has_answer: Sequence[bool], probabilities: Sequence[float]
) -> tuple[float, float]:
    """Highest score in percent and its threshold: from all predictions empty on, keep one more, the surest first."""
    total = best = float(has_answer.count(False))
    threshold = 0.0
    for place in sorted(range(len(scores)), key=probabilities.__getitem__):
        if has_answer[place]:
            total += scores[place]
        elif predictions[place]:
            total -= 1
        if total > best:
            best, threshold = total, probabilities[place]
    return 100 * best / len(scores), threshold


def _without_cmrc_punctuation(text: str) -> str:
    return text.lower().strip().translate(DROP_CMRC_PUNCTUATION)


def _cmrc_words(text: str) -> list[str]:
    return CMRC_WORDS.sub(r" \g<0> ", _without_cmrc_punctuation(text)).split()


def _cmrc_exact(prediction: str, gold: str) -> float:
    return float(_without_cmrc_punctuation(prediction) == _without_cmrc_punctuation(gold))


def _cmrc_f1(prediction: str, gold: str) -> float:
    predicted, expected = _cmrc_words(prediction), _cmrc_words(gold)
    return _f1(_longest_common_run(predicted, expected), len(predicted), len(expected))


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    longest = 0
    lengths = [0] * (len(second) + 1)  # lengths[j]: of the run that ends at the current word and at second[j - 1]
    for word in first:
        lengths = [0] + [lengths[j] + 1 if word == other else 0 for j, other in enumerate(second)]
        longest = max(longest, *lengths)
    return longest
