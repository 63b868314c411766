"""From the rows of a table to the examples of a task: the same fields and types for every table, or an error that names the row."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from electra_plus.data.example_files import Row, shown
from electra_plus.data.tagged_tokens import has_scheme, iob2_problem, spans_to_tags, to_iob2
from electra_plus.data.task_columns import Columns, choose_columns

LETTERS = "ABCDEFGH"
CORRECT_IT = "Correct it, or leave the row out."


def task_examples(
    rows: Sequence[Row],
    task: str,
    columns: Mapping[str, str | list[str]] | None = None,
    with_targets: bool = True,
    convert_tags: bool = False,
) -> tuple[list[Row], Columns]:
    r"""
    Turn rows into examples of a task, checked one by one.

    | task | fields of an example |
    |---|---|
    | `text-classification` | `text`, `text_pair` if there is one, `label` (`str`) |
    | `regression` | `text`, `text_pair` if there is one, `label` (`float`) |
    | `multi-label-classification` | `text`, `text_pair` if there is one, `labels` (`list[str]`, may be empty) |
    | `token-classification` | `tokens` and `tags` (`list[str]` of one length) |
    | `question-answering` | `context`, `question`, `answers` (`text` and `answer_start` of each, none for no answer), `id` if there |
    | `multiple-choice` | `choices` (`list[str]`), `label` (`int`, from 0), `context` and `question` if they are there |
    | `translation` | `source`, `target` |
    | `text-generation` | `text` |

    Args:
        rows (`Sequence[Row]`): From [`read_examples`].
        task (`str`): As in the table.
        columns (`Mapping`, *optional*): Fields and columns, as [`parse_columns`] returns them. Others are guessed.
        with_targets (`bool`, *optional*, defaults to `True`):
            Whether examples have `label`, `labels`, `tags`, `answers` or `target`, as all but prediction needs.
        convert_tags (`bool`, *optional*, defaults to `False`): Convert tags from IOB1, BIOES, BMES or BILOU to IOB2.

    Returns:
        `tuple[list[Row], dict]`: the examples, and the columns that were given or guessed, which [`describe_columns`] prints.

    Raises:
        ValueError: Columns are missing or unclear, or a row does not fit the task.

    Example:

    >>> rows = [Row({"review": "Good.", "stars": "5"}, "`a.csv` line 2")]
    >>> task_examples(rows, "regression")
    ([{'text': 'Good.', 'label': 5.0}], {'text': 'review', 'label': 'stars'})
    """
    if task == "translation":
        rows = [unnested_translation(row) for row in rows]
    try:
        chosen = choose_columns(list(rows[0]), task, columns, with_targets)
    except ValueError as error:
        raise ValueError(f"{rows[0].where}: {error}") from None
    read = READERS[task]
    examples = []
    for row in rows:
        fields = {field: _value(row, column) for field, column in chosen.items()}
        try:
            example = read(fields)
        except ValueError as error:
            raise ValueError(f"{row.where}: {error}") from None
        class_names = {field: names for field, column in chosen.items() if (names := row.class_names.get(str(column)))}
        examples.append(Row(example, row.where, class_names))
    if task == "text-classification" and with_targets:
        _check_one_kind(rows, chosen["label"])
    if task == "token-classification" and with_targets:
        _check_tags(examples, convert_tags)
    return examples, chosen


def unnested_translation(row: Row) -> Row:
    """Return the texts of a `translation` of both languages as columns; what is beside it describes where they are from."""
    both = row.get("translation")
    return Row(both, row.where) if isinstance(both, dict) else row


def _value(row: Row, column: str | list[str]) -> Any:
    names = [column] if isinstance(column, str) else column
    for name in names:
        if name not in row:
            raise ValueError(f"{row.where} has no `{name}`, only {list(row)}. Add it, or leave the row out.")
    return row[column] if isinstance(column, str) else {name: row[name] for name in names}


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _text(fields: Mapping[str, Any], field: str) -> str:
    if not isinstance(fields[field], str):
        raise ValueError(f"`{field}` must be text, got {shown(fields[field])}. {CORRECT_IT}")
    return fields[field]


def _texts(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {field: _text(fields, field) for field in ("text", "text_pair") if field in fields}


def _label(value: Any, field: str) -> str:
    """Return the name of a class; whole numbers stay whole where a table made them 0.0 and 1.0."""
    if _is_missing(value):
        raise ValueError(f"`{field}` is missing ({value!r}). Give one, or leave the row out.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise ValueError(f"`{field}` must be the name or number of a class, got {shown(value)}. {CORRECT_IT}")
    return str(value)


def _classified(fields: Mapping[str, Any]) -> dict[str, Any]:
    found = _texts(fields)
    if "label" in fields:
        found["label"] = _label(fields["label"], "label")
    return found


def _rated(fields: Mapping[str, Any]) -> dict[str, Any]:
    found = _texts(fields)
    if "label" in fields:
        value = fields["label"]
        if _is_missing(value):
            raise ValueError(f"`label` is missing ({value!r}). Give a number, or leave the row out.")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise ValueError(
                f"`label` must be a number, got {shown(value)}. {CORRECT_IT} For classes: --task text-classification"
            )
        found["label"] = number
    return found


def _labelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return labels of a list, of a text with `,`, `;` or `|` between them, or of columns that hold 0 or 1 each."""
    found = _texts(fields)
    if "labels" not in fields:
        return found
    value = fields["labels"]
    if isinstance(value, dict):
        wrong = {
            name: mark for name, mark in value.items() if str(mark) not in ("0", "1", "0.0", "1.0", "True", "False")
        }
        if wrong:
            raise ValueError(f"`labels` must be columns of 0 and 1, got {shown(wrong)}. {CORRECT_IT}")
        found["labels"] = [name for name, mark in value.items() if str(mark) in ("1", "1.0", "True")]
        return found
    if isinstance(value, str):
        value = [name.strip() for name in value.replace(";", ",").replace("|", ",").split(",") if name.strip()]
    if not isinstance(value, list):
        raise ValueError(
            f"`labels` must be a list of names, or text with commas between them, got {shown(value)}. {CORRECT_IT}"
        )
    labels = [_label(label, "labels") for label in value]
    if len(set(labels)) < len(labels):
        raise ValueError(f"`labels` has a name twice: {shown(labels)}. Give names, not a 0 or 1 for each class.")
    found["labels"] = labels
    return found


def _strings(value: Any, field: str) -> list[str]:
    """Return a list of strings; of a text, its words."""
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"`{field}` must be a list of strings, got {shown(value)}. {CORRECT_IT}")
    return value


def _tagged(fields: Mapping[str, Any]) -> dict[str, Any]:
    if "text" in fields:
        text = _text(fields, "text")
        tokens, tags = spans_to_tags(text, _spans(fields["spans"], text) if "spans" in fields else [])
        return {"tokens": tokens, "tags": tags} if "spans" in fields else {"tokens": tokens}
    tokens = _strings(fields["tokens"], "tokens")
    if "tags" not in fields:
        return {"tokens": tokens}
    value = fields["tags"]
    if not isinstance(value, str | list):
        raise ValueError(f"`tags` must be a list, one tag for each token, got {shown(value)}. {CORRECT_IT}")
    tags = [_label(tag, "tags") for tag in (value.split() if isinstance(value, str) else value)]
    if len(tags) != len(tokens):
        raise ValueError(f"`tags` has {len(tags)} items and `tokens` {len(tokens)}. Give each token one tag.")
    return {"tokens": tokens, "tags": tags}


def _spans(value: Any, text: str) -> list[tuple[int, int, str]]:
    """
    Return first character, character after the last one and name of entities in any of the forms that are in use.

    A list holds `{"start": 0, "end": 3, "label": "name"}` or `[0, 3, "name"]`, the end not included. CLUENER has
    `{"name": {"叶老桂": [[9, 11]]}}`, the end included.
    """
    form = "a list of {'start': 0, 'end': 3, 'label': 'name'}, or CLUENER's {'name': {'entity': [[0, 2]]}}"
    found: list[tuple[Any, Any, Any, str | None]] = []
    try:
        if isinstance(value, dict):
            for name, entities in value.items():
                for entity, places in entities.items():
                    found += [(start, end + 1, name, entity) for start, end in places]
        else:
            for span in value:
                if isinstance(span, dict):
                    found.append((span["start"], span["end"], span["label"], span.get("text")))
                else:
                    start, end, name = span
                    found.append((start, end, name, None))
    except (TypeError, ValueError, AttributeError, KeyError):
        raise ValueError(f"`spans` must be {form}, got {shown(value)}. {CORRECT_IT}") from None
    for start, end, name, entity in found:
        if type(start) is not int or type(end) is not int or not isinstance(name, str) or not name:
            raise ValueError(f"`spans` must be {form}, got {shown((start, end, name))}. {CORRECT_IT}")
        if entity is not None and text[max(start, 0) : max(end, 0)] != entity:
            there = text[max(start, 0) : max(end, 0)]
            raise ValueError(
                f"`spans`: {shown(entity)} ({name!r}) does not stand at {start} to {end}, but {shown(there)}. {CORRECT_IT}"
            )
    return [(start, end, name) for start, end, name, _ in found]


def _answered(fields: Mapping[str, Any]) -> dict[str, Any]:
    context = _text(fields, "context")
    found = {"context": context, "question": _text(fields, "question")}
    if not _is_missing(fields.get("id")):
        found["id"] = str(fields["id"])
    if "answers" not in fields:
        return found
    value = fields["answers"]
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
    elif isinstance(value, list) and all(isinstance(answer, dict) for answer in value):
        texts, starts = ([answer.get(key) for answer in value] for key in ("text", "answer_start"))
    elif isinstance(value, str) and "answer_start" in fields:
        texts, starts = ([value], [_number(fields["answer_start"])]) if value else ([], [])
    else:
        texts = starts = None
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise ValueError(
            "`answers` must be {'text': ['Paris'], 'answer_start': [17]} (empty lists for no answer), or text with a column "
            f"`answer_start`, got {shown(value)}. {CORRECT_IT}"
        )
    for text, start in zip(texts, starts, strict=True):
        _check_answer(text, start, context)
    found["answers"] = {"text": texts, "answer_start": starts}
    return found


def _check_answer(text: Any, start: Any, context: str) -> None:
    if not isinstance(text, str) or not text or type(start) is not int:
        raise ValueError(
            f"`answers` has text {shown(text)} at {shown(start)}. Give text and the number of its first character; no answer "
            "is an empty list."
        )
    there = context[start : start + len(text)] if start >= 0 else ""
    if there != text:
        at = context.find(text)
        cure = f"It stands at {at}." if at >= 0 else f"It stands nowhere in `context`. {CORRECT_IT}"
        raise ValueError(f"`answers`: at {start} stands {shown(there)}, not {shown(text)}. {cure}")


def _number(value: Any) -> Any:
    """Return the whole number that a table holds as text or as 3.0; anything else as it is."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 19 else value


def _chosen(fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {field: _text(fields, field) for field in ("context", "question") if field in fields}
    value, names = fields["choices"], list(LETTERS)
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # as in ARC, with the names of the choices
        value, names = value["text"], value.get("label")
    elif isinstance(value, dict):
        value = list(value.values())
    choices = value
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise ValueError(f"`choices` must be a list of texts, got {shown(choices)}. {CORRECT_IT}")
    if len(choices) < 2:
        raise ValueError(f"`choices` must be at least 2, got {shown(choices)}. Leave the row out.")
    found["choices"] = choices
    if "label" in fields:
        found["label"] = _index_of_choice(fields["label"], choices, names if isinstance(names, list) else [])
    return found


def _index_of_choice(value: Any, choices: list[str], names: list) -> int:
    """Return the index of the right choice, which may be given as a number from 0, by its name (A, B, …) or its text."""
    if _is_missing(value):
        raise ValueError(f"`label` is missing ({value!r}). Give the number of the right choice, or leave the row out.")
    found = [names.index(value)] if value in names else [_number(value)]
    found += [index for index, choice in enumerate(choices) if choice == value]
    indices = {index for index in found if type(index) is int and 0 <= index < len(choices)}
    if not indices:
        raise ValueError(
            f"`label` must be the number of a choice, from 0 to {len(choices) - 1}, its letter or its text, got "
            f"{shown(value)}. {CORRECT_IT}"
        )
    if len(indices) > 1:
        raise ValueError(
            f"`label` ({shown(value)}) may mean any of the choices {sorted(indices)}. Give a number in JSON."
        )
    return indices.pop()


def _translated(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {field: _text(fields, field) for field in ("source", "target") if field in fields}


READERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "text-classification": _classified,
    "regression": _rated,
    "multi-label-classification": _labelled,
    "token-classification": _tagged,
    "question-answering": _answered,
    "multiple-choice": _chosen,
    "translation": _translated,
    "text-generation": _texts,
}


def _check_one_kind(rows: Sequence[Row], column: str) -> None:
    """Check that labels are all text or all numbers: 1 and "1" would silently be one class, 1 and "good" are a mistake."""
    first: dict[str, Row] = {}
    for row in rows:
        value = row[column]
        kind = "text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"
        first.setdefault(kind, row)
        if len(first) > 1:
            (kind, row), (other_kind, other) = first.items()
            raise ValueError(
                f"{other.where}: `label` is {other_kind} ({shown(other[column])}), and {kind} ({shown(row[column])}) in {row.where}. "
                "Make all of them the same."
            )


def _check_tags(examples: Sequence[Row], convert_tags: bool) -> None:
    """Check that tags are IOB2 where any of them is of an entity; parts of speech and the like are taken as they are."""
    if not any(has_scheme(example["tags"]) for example in examples):
        return
    if convert_tags:
        for example in examples:
            try:
                example["tags"] = to_iob2(example["tags"])
            except ValueError as error:
                raise ValueError(f"{example.where}: {error}") from None
    wrong = [example for example in examples if iob2_problem(example["tags"])]
    if wrong:
        raise ValueError(
            f"{wrong[0].where}: {iob2_problem(wrong[0]['tags'])}. {len(wrong)} of {len(examples)} rows are not IOB2. "
            "Correct them, or have all converted: --convert-tags"
        )
