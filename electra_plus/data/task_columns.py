"""Which columns of a table a task needs: their usual names, guessing, and what the user says instead."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Columns = dict[str, str | list[str]]


@dataclass(frozen=True)
class Field:
    """
    A field that examples of a task have.

    Args:
        name (`str`): As the examples and `--columns` call it. A column of that name is taken before any other.
        usual (`tuple[str, ...]`, *optional*): What datasets call it, each as good as another; case does not matter.
        required (`bool`, *optional*, defaults to `True`): Whether every table has it.
        is_target (`bool`, *optional*, defaults to `False`): Whether it is what a model shall find, so that prediction needs none.
        numbered (`str`, *optional*): Expression for the names of columns that hold one item of a list each.
    """

    name: str
    usual: tuple[str, ...] = ()
    required: bool = True
    is_target: bool = False
    numbered: str | None = None


TEXT = Field("text", ("sentence", "review", "content", "document", "comment", "文本", "内容", "评论"))
TEXT_PAIR = Field("text_pair", required=False)
# Columns of two texts, which are only guessed together. `question` and `sentence` are those of QNLI.
TEXT_PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("query", "passage"),
)
LABEL_NAMES = ("labels", "class", "target", "category", "sentiment", "标签", "类别")
NUMBER_NAMES = ("labels", "score", "similarity", "similarity_score", "target", "rating", "stars", "分数")
# The two ways to mark tokens; the first is taken where there is a column of tokens.
TOKEN_FIELDS = (
    Field("tokens", ("words",)),
    Field("tags", ("ner_tags", "labels", "label", "ner", "pos_tags", "upos"), is_target=True),
)
SPAN_FIELDS = (TEXT, Field("spans", ("entities", "label", "labels"), is_target=True))
TASK_COLUMNS: dict[str, tuple[Field, ...]] = {
    "text-classification": (TEXT, TEXT_PAIR, Field("label", LABEL_NAMES, is_target=True)),
    "regression": (TEXT, TEXT_PAIR, Field("label", NUMBER_NAMES, is_target=True)),
    "multi-label-classification": (
        TEXT,
        TEXT_PAIR,
        Field("labels", ("label", "tags", "categories", "topics"), is_target=True),
    ),
    "token-classification": TOKEN_FIELDS,
    "question-answering": (
        Field("context", ("passage", "paragraph", "article", "document", "text", "文章")),
        Field("question", ("query", "问题")),
        Field("answers", ("answer", "answer_text", "答案"), is_target=True),
        Field("answer_start", ("start",), required=False, is_target=True),
        Field("id", ("qid", "question_id"), required=False),
    ),
    "multiple-choice": (
        Field("context", ("premise", "article", "passage", "sent1", "ctx", "文章"), required=False),
        Field("question", ("sent2", "query", "问题"), required=False),
        Field(
            "choices", ("choice", "options", "endings"), numbered=r"(choice|ending|option|sol|answer)_?([0-9]|[A-Ha-h])"
        ),
        Field("label", ("answer", "answerKey", "labels", "gold"), is_target=True),
    ),
    "translation": (Field("source", ("src", "text", "原文")), Field("target", ("tgt", "译文"), is_target=True)),
    "text-generation": (TEXT,),
}
# Codes of ISO 639 and English names, as columns of translations are called; without Indonesian's id, which numbers rows.
LANGUAGES = frozenset((
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "ga", "he", "hi",
    "hr", "hu", "is", "it", "ja", "ko", "la", "lt", "lv", "lzh", "mk", "ms", "nl", "no", "pl", "pt", "ro",
    "ru", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "th", "tr", "uk", "ur", "vi", "yue", "zh",
    "arabic", "chinese", "czech", "dutch", "english", "finnish", "french", "german", "greek", "hindi",
    "italian", "japanese", "korean", "latin", "polish", "portuguese", "romanian", "russian", "spanish",
    "swedish", "turkish", "ukrainian", "vietnamese",
))  # fmt: skip


def parse_columns(text: str) -> Columns:
    """
    Read what `--columns` says: `field=column`, separated by commas; `+` joins columns that hold one item each.

    Raises:
        ValueError: A part of another form, or a field that comes twice.

    Example:

    >>> parse_columns("text=review,label=stars")
    {'text': 'review', 'label': 'stars'}
    >>> parse_columns("choices=first+second, label=right")
    {'choices': ['first', 'second'], 'label': 'right'}
    """
    columns: Columns = {}
    for part in text.split(","):
        field, _, column = (piece.strip() for piece in part.partition("="))
        names = [name.strip() for name in column.split("+")]
        if not field or not all(names) or field in columns:
            raise ValueError(f"`--columns` must be like text=review,label=stars, each field once, got {text!r}.")
        columns[field] = names if len(names) > 1 else names[0]
    return columns


def describe_columns(columns: Mapping[str, str | Sequence[str]]) -> str:
    """
    Return columns as `--columns` takes them, to print what was guessed.

    >>> describe_columns({"text": "review", "choices": ["first", "second"]})
    'text=review,choices=first+second'
    """
    return ",".join(
        f"{field}={column if isinstance(column, str) else '+'.join(column)}" for field, column in columns.items()
    )


def choose_columns(
    present: Sequence[str], task: str, given: Mapping[str, str | list[str]] | None = None, with_targets: bool = True
) -> Columns:
    """
    Find the column of each field of a task: the one the user gave, else one of the field's own name, else of a usual name.

    Args:
        present (`Sequence[str]`): Columns that there are.
        task (`str`): Key of [`TASK_COLUMNS`].
        given (`Mapping`, *optional*): Fields and columns the user named, as [`parse_columns`] returns them.
        with_targets (`bool`, *optional*, defaults to `True`): Whether labels and answers are needed. Else they are left out.

    Returns:
        `dict`: fields and their columns; fields that need not be there and are not, are left out.

    Raises:
        ValueError: Another task, a field that the task does not have, a column that is not there, no column for a field, or
            several that are as good as one another.

    Example:

    >>> choose_columns(["idx", "premise", "hypothesis", "label"], "text-classification")
    {'text': 'premise', 'text_pair': 'hypothesis', 'label': 'label'}
    """
    if task not in TASK_COLUMNS:
        raise ValueError(f"`task` must be one of {list(TASK_COLUMNS)}, got {task!r}.")
    fields = TASK_COLUMNS[task]
    given = dict(given or {})
    if task == "token-classification" and "tokens" not in given and not _candidates(TOKEN_FIELDS[0], present):
        fields = SPAN_FIELDS
    _check_given(given, fields, present, task)
    fields = tuple(field for field in fields if with_targets or not field.is_target)
    columns = {field.name: given[field.name] for field in fields if field.name in given}
    if TEXT_PAIR in fields and not {"text", "text_pair"} & set(columns):
        columns |= _texts(present)
    if task == "translation" and not columns:
        columns |= _languages(present)
    for field in fields:
        if field.name in columns:
            continue
        taken = [name for column in columns.values() for name in ([column] if isinstance(column, str) else column)]
        found = _candidates(field, [column for column in present if column not in taken])
        if len(found) > 1:
            example = describe_columns({field.name: found[0]})
            raise ValueError(f"`{field.name}` may be any of the columns {found}. Say which: --columns {example}")
        if found:
            columns[field.name] = found[0]
        elif field.required:
            raise ValueError(
                f"No column for `{field.name}` ({task}) is found in {list(present)}. "
                f"Name it: --columns {field.name}=COLUMN"
            )
    return {field.name: columns[field.name] for field in fields if field.name in columns}


def _check_given(given: Columns, fields: Sequence[Field], present: Sequence[str], task: str) -> None:
    known = [field.name for field in fields]
    for field, column in given.items():
        if field not in known:
            raise ValueError(f"`--columns` names the field {field!r}, and {task} has {known}. Use one of these.")
        for name in [column] if isinstance(column, str) else column:
            if name not in present:
                raise ValueError(f"`--columns` names {name!r} for `{field}`, and the columns are {list(present)}.")


def _candidates(field: Field, present: Sequence[str]) -> list[str | list[str]]:
    """Return the columns that may be a field: the one of its name alone if it is there."""
    if field.name in present:
        return [field.name]
    usual = {name.lower() for name in (field.name, *field.usual)}
    found: list = [column for column in present if column.lower() in usual]
    if not found and field.numbered is not None:
        series: dict[str, list[str]] = {}
        for column in present:
            if match := re.fullmatch(field.numbered, column):
                series.setdefault(match[1], []).append(column)
        found = [sorted(columns) for columns in series.values() if len(columns) > 1]
    return found


def _texts(present: Sequence[str]) -> Columns:
    """Return the columns of a text or of two; nothing where a column called text, or no pair, makes it one text."""
    pairs = [pair for pair in TEXT_PAIRS if all(name in present for name in pair)]
    if "text" in present:
        pairs = [pair for pair in pairs if pair[0] == "text"]
    if len(pairs) > 1:
        first, second = pairs[0]
        raise ValueError(
            f"The texts may be any of the pairs of columns {pairs}. Say which: --columns text={first},text_pair={second}"
        )
    return dict(zip(("text", "text_pair"), pairs[0], strict=True)) if pairs else {}


def _languages(present: Sequence[str]) -> Columns:
    """Return the columns named after two languages, in their order; nothing where columns have other names."""
    found = [column for column in present if column.lower() in LANGUAGES]
    if "source" in present or len(found) < 2:
        return {}
    if len(found) > 2:
        raise ValueError(
            f"Any two of the columns {found} may be translated. Say which: --columns source={found[0]},target={found[1]}"
        )
    return dict(zip(("source", "target"), found, strict=True))
