"""Which columns are guessed, and when the user has to say."""

import pytest

from electra_plus.data.task_columns import choose_columns, describe_columns, parse_columns


@pytest.mark.parametrize(
    ("task", "present", "expected"),
    [
        ("text-classification", ["sentence", "label", "idx"], "text=sentence,label=label"),
        ("text-classification", ["text", "sentence", "label"], "text=text,label=label"),
        ("text-classification", ["text", "sentence1", "sentence2", "label"], "text=text,label=label"),
        ("text-classification", ["text", "label", "category"], "text=text,label=label"),
        ("text-classification", ["Review", "Sentiment"], "text=Review,label=Sentiment"),
        ("text-classification", ["评论", "标签"], "text=评论,label=标签"),
        ("text-classification", ["question", "sentence", "label"], "text=question,text_pair=sentence,label=label"),
        ("regression", ["sentence1", "sentence2", "score"], "text=sentence1,text_pair=sentence2,label=score"),
        ("multi-label-classification", ["text", "labels", "id"], "text=text,labels=labels"),
        ("token-classification", ["id", "tokens", "ner_tags"], "tokens=tokens,tags=ner_tags"),
        ("token-classification", ["text", "label"], "text=text,spans=label"),
        ("question-answering", ["id", "title", "context", "question", "answers"],
         "context=context,question=question,answers=answers,id=id"),
        ("multiple-choice", ["sent1", "sent2", "ending1", "ending0", "label"],
         "context=sent1,question=sent2,choices=ending0+ending1,label=label"),
        ("translation", ["id", "zh", "en"], "source=zh,target=en"),
        ("text-generation", ["content"], "text=content"),
    ],
)  # fmt: skip
def test_usual_columns_are_guessed(task, present, expected):
    columns = choose_columns(present, task)
    assert describe_columns(columns) == expected
    assert choose_columns(present, task, parse_columns(expected)) == columns


@pytest.mark.parametrize(
    ("task", "present", "given", "message"),
    [
        ("text-classification", ["review", "content", "label"], {},
         r"`text` may be any of the columns \['review', 'content'\]. Say which: --columns text=review"),
        ("text-classification", ["text", "class", "category"], {}, r"--columns label=class"),
        ("text-classification", ["premise", "hypothesis", "sentence1", "sentence2", "label"], {},
         r"any of the pairs .* --columns text=sentence1,text_pair=sentence2"),
        ("text-classification", ["words", "label"], {}, r"No column for `text` .*--columns text=COLUMN"),
        ("text-classification", ["text", "label"], {"label": "stars"}, r"names 'stars' for `label`, and the columns are"),
        ("text-classification", ["text", "label"], {"source": "text"}, r"the field 'source', and text-classification has"),
        ("token-classification", ["tokens", "ner_tags", "pos_tags"], {}, r"--columns tags=ner_tags"),
        ("multiple-choice", ["choice0", "choice1", "option0", "option1", "label"], {}, r"--columns choices=choice0\+choice1"),
        ("translation", ["en", "de", "fr"], {}, r"--columns source=en,target=de"),
        ("translation", ["a", "b"], {}, r"No column for `source` \(translation\) is found in \['a', 'b'\]"),
        ("summarization", ["text"], {}, r"`task` must be one of"),
    ],
)  # fmt: skip
def test_unclear_or_missing_columns_are_refused(task, present, given, message):
    with pytest.raises(ValueError, match=message):
        choose_columns(present, task, given)


@pytest.mark.parametrize("text", ["", "text", "text=", "=review", "text=a,text=b", "choices=a++b"])
def test_columns_of_another_form_are_refused(text):
    with pytest.raises(ValueError, match="`--columns` must be like text=review,label=stars"):
        parse_columns(text)
