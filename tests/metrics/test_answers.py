"""Answers are scored as the official scripts of SQuAD 1.1, SQuAD 2.0 and CMRC 2018 do; expected values worked by hand."""

import pytest

from electra_plus.metrics.answers import (
    _cmrc_words,
    _longest_common_run,
    cmrc2018_scores,
    normalize_answer,
    squad_scores,
    squad_v2_scores,
)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Cat\tsat.", "cat sat"),
        ("a an the", ""),
        ("theatre, another", "theatre another"),  # no articles inside words
        ("U.S.", "us"),
        ("$1,000.50", "100050"),
        ("don't", "dont"),
        ("Café “x” –", "café “x” –"),  # only ASCII punctuation goes
        ("the-end", "theend"),  # punctuation goes first, so the article is no word of its own
        ("", ""),
    ],
)
def test_answers_are_normalized_as_squad_does(text, normalized):
    assert normalize_answer(text) == normalized


def test_best_of_several_answers_counts():
    scores = squad_scores(["cat sat", "", "x y"], [["a dog", "The cat sat!"], ["dog"], ["y z", "x y z w"]])
    # 1, 0; the third: 1 of 2 and 1 of 2 words with "y z", 2 of 2 and 2 of 4 with "x y z w"
    assert scores == {"exact_match": pytest.approx(100 / 3), "f1": pytest.approx(100 * (1 + 2 / 3) / 3)}


def test_repeated_words_count_as_often_as_both_have_them():
    assert squad_scores(["b b b"], [["b b c"]])["f1"] == pytest.approx(100 * 2 / 3)


def test_answer_of_articles_alone_matches_in_squad_2_and_has_no_words_in_squad_1():
    assert squad_scores(["the"], [["a"]]) == {"exact_match": 100.0, "f1": 0.0}
    assert squad_v2_scores(["the"], [["a"]])["f1"] == 100.0


def test_no_answer_figures():
    predictions = ["cat", "", "a dog", ""]
    answers = [["The cat"], [], [], ["bird"]]
    assert squad_v2_scores(predictions, answers) == {
        "exact": 50.0, "f1": 50.0, "total": 4,
        "HasAns_exact": 50.0, "HasAns_f1": 50.0, "HasAns_total": 2,
        "NoAns_exact": 50.0, "NoAns_f1": 50.0, "NoAns_total": 2,
    }  # fmt: skip
    only_answerable = squad_v2_scores(predictions[:1], answers[:1])
    assert not any(name.startswith("NoAns") for name in only_answerable)


def test_threshold_empties_predictions():
    predictions, answers, probabilities = ["cat", "x", "dog"], [["cat"], [], ["big dog"]], [0.2, 0.6, 0.4]
    scores = squad_v2_scores(predictions, answers, probabilities)
    assert scores["exact"] == pytest.approx(100 / 3)
    # all empty: 1 of 3; with "cat" 2 of 3; with "dog" F1 adds 2/3; with "x" one is lost
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (pytest.approx(200 / 3), 0.2)
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (pytest.approx(100 * (2 + 2 / 3) / 3), 0.4)
    for name in ("exact", "f1"):
        at_best = squad_v2_scores(predictions, answers, probabilities, scores[f"best_{name}_thresh"])
        assert at_best[name] == pytest.approx(scores[f"best_{name}"])
    everything_empty = squad_v2_scores(predictions, answers, probabilities, no_answer_threshold=0.0)
    assert (everything_empty["HasAns_exact"], everything_empty["NoAns_exact"]) == (0.0, 100.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("北京大学", ["北", "京", "大", "学"]),
        ("《红楼梦》，１9", ["红", "楼", "梦", "１9"]),  # full-width digits are no Chinese characters
        ("Windows 7系统", ["windows", "7", "系", "统"]),
        ("约3.5%，1,000人", ["约", "3.5", "%", "1,000", "人"]),
        ("共 a.b. 个c.", ["共", "a.b", ".", "个", "c", "."]),
        ("a-b:c", ["abc"]),  # a dash leaves no gap
        ("他说(no, 不)…", ["他", "说", "(", "no", ",", "不", ")", "…"]),
        ("King's 'x'", ["king", "'s", "'", "x", "'"]),
        ("，。！", []),
        ("", []),
    ],
)
def test_chinese_is_cut_into_characters_and_the_rest_into_words(text, words):
    assert _cmrc_words(text) == words


@pytest.mark.parametrize(
    ("first", "second", "length"), [("", "a", 0), ("abcd", "xbcy", 2), ("aab", "aaab", 3), ("ab", "ba", 1)]
)
def test_longest_common_run_is_contiguous(first, second, length):
    assert _longest_common_run(first, second) == _longest_common_run(second, first) == length


def test_chinese_scores_worked_by_hand():
    predictions = ["《红楼梦》。", "在北京大学", "一九八零年", ""]
    answers = [["红楼梦"], ["北京", "北京大学"], ["一九零年"], ["是"]]
    scores = cmrc2018_scores(predictions, answers)
    # the second: 4 of 5 and 4 of 4; the third: the longest run has 2 of 5 and 2 of 4
    assert scores["exact_match"] == 25.0
    assert scores["f1"] == pytest.approx(100 * (1 + 8 / 9 + 4 / 9 + 0) / 4)
    assert scores["average"] == pytest.approx((scores["exact_match"] + scores["f1"]) / 2)


def test_chinese_exact_match_ignores_capitals_and_keeps_spaces():
    assert cmrc2018_scores([" DNA的“双螺旋” "], [["dna的双螺旋"]])["exact_match"] == 100.0
    assert cmrc2018_scores(["A B"], [["AB"]])["exact_match"] == 0.0


def test_texts_of_punctuation_alone_match_exactly_and_share_no_word():
    assert cmrc2018_scores(["，"], [["。"]]) == {"exact_match": 100.0, "f1": 0.0, "average": 50.0}


@pytest.mark.parametrize("score", [squad_scores, squad_v2_scores, cmrc2018_scores])
def test_wrong_numbers_are_refused(score):
    with pytest.raises(ValueError, match="at least one question, got 0 and 0"):
        score([], [])
    with pytest.raises(ValueError, match="got 1 and 2"):
        score(["a"], [["a"], ["b"]])


def test_questions_without_an_answer_need_squad_2():
    with pytest.raises(ValueError, match="got none for question 1. Score it as SQuAD 2.0"):
        squad_scores(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="got none for question 0"):
        cmrc2018_scores(["a"], [[]])
    with pytest.raises(ValueError, match="must be one a question, got 2 for 1"):
        squad_v2_scores(["a"], [["a"]], [0.1, 0.2])
