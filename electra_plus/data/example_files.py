"""Rows of the files that examples come in: JSON (SQuAD's and C3's nested ones too), CSV, TSV, parquet, CoNLL, plain lines."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from electra_plus.data.sources import read_json_lines, read_lines

# Of CoNLL-U ("# sent_id = 3") and of MultiCoNER ("# id 3f2a"). A "#" alone is a token, as in tweets.
CONLL_COMMENT = re.compile(r"#\s*(\w+\s*=|id\s)")


class Row(dict):
    """
    A row of a table, and where it was read.

    Args:
        values (`dict`): Columns and their values.
        where (`str`): File and place, as error messages begin with: "`train.csv` line 7".
        class_names (`dict`, *optional*): Columns whose classes the source names itself, and the names in their order.

    Example:

    >>> row = Row({"text": "A fine film.", "label": "good"}, where="`train.csv` line 2")
    >>> row["label"], row.where
    ('good', '`train.csv` line 2')
    """

    def __init__(self, values: dict[str, Any], where: str, class_names: dict[str, list[str]] | None = None):
        super().__init__(values)
        self.where = where
        self.class_names = class_names or {}


def read_rows(file: Path) -> Iterator[Row]:
    """
    Yield the rows of a file, whose suffix says what it is: a key of [`READERS`], each but `.parquet` also with `.gz`.

    Raises:
        ValueError: Another suffix, text that is not UTF-8, or a row that cannot be read.
    """
    suffix = suffix_of(file)
    if suffix is None:
        kinds = ", ".join(kind for kind in READERS if kind not in (".jsonl", ".csv"))
        raise ValueError(f"`{file}` must end in .jsonl or .csv (or {kinds}; text also with .gz). Rename or convert it.")
    yield from READERS[suffix](file)


def shown(value: Any, longest: int = 60) -> str:
    """
    Return a value as error messages show it, cut to so many characters.

    >>> shown("good"), shown([1] * 99, longest=12)
    ("'good'", '[1, 1, 1,...')
    """
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def suffix_of(file: Path) -> str | None:
    """Return the key of [`READERS`] that reads a file, by its name; `None` where none does."""
    name = file.name.removesuffix(".gz")
    suffix = next((suffix for suffix in READERS if name.endswith(suffix)), None)
    return None if suffix == ".parquet" and file.suffix == ".gz" else suffix


def class_names_of(features: Any) -> dict[str, list[str]]:
    """Return the columns of `datasets.Features` that hold classes, or lists of classes, and the names of those."""
    from datasets import ClassLabel

    inner = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: list(kind.names) for column, kind in inner.items() if isinstance(kind, ClassLabel)}


def row_of_dataset(values: dict[str, Any], where: str, class_names: dict[str, list[str]]) -> Row:
    """Return a row with names in place of the numbers of classes; -1, by which datasets mean no label, becomes `None`."""

    def name(value, names):
        if isinstance(value, list):
            return [name(item, names) for item in value]
        return None if value in (None, -1) else names[value]

    named = {column: name(values[column], names) for column, names in class_names.items()}
    return Row(values | named, where, class_names)


def _json_lines(file: Path) -> Iterator[Row]:
    for number, row in read_json_lines(file):
        yield _whole_characters(Row(row, f"`{file}` line {number}"))


def _json(file: Path) -> Iterator[Row]:
    """Yield the rows of a JSON file: a list of objects, alone or as `data`, or one object a line as in `.jsonl`."""
    text = "".join(read_lines(file))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not text.strip() or _is_object(text.strip().split("\n", 1)[0]):
            yield from _json_lines(file)
            return
        raise ValueError(f"`{file}` is no JSON: {error}. Give a list of objects, or one object a line.") from error
    if isinstance(content, dict):
        content = content["data"] if isinstance(content.get("data"), list) else [content]
    if not isinstance(content, list):
        raise ValueError(f"`{file}` must be a JSON list, got {type(content).__name__}. Give a list of objects.")
    for number, item in enumerate(content, start=1):
        where = f"`{file}` item {number}"
        if isinstance(item, dict) and "paragraphs" in item:
            rows = _squad_questions(item, where)
        elif isinstance(item, list) and len(item) == 3:
            rows = _c3_questions(item, where)
        else:
            rows = [Row(_a(dict, item, where), where)]
        for row in rows:
            yield _whole_characters(row)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _squad_questions(article: dict, where: str) -> Iterator[Row]:
    """Yield the questions of one article of SQuAD's file, each with its paragraph, in the flat form of its datasets."""
    for number, paragraph in enumerate(_a(list, article["paragraphs"], f"{where} `paragraphs`"), start=1):
        place = f"{where} paragraph {number}"
        questions = _a(list, _a(dict, paragraph, place).get("qas"), f"{place} `qas`")
        for index, question in enumerate(questions, start=1):
            at = f"{place} question {index}"
            shared = {"title": article.get("title"), "context": paragraph.get("context")}
            yield Row({**shared, **_a(dict, question, at)}, at)


def _c3_questions(item: list, where: str) -> Iterator[Row]:
    """Yield the questions of one item of C3's file: a list of the text's lines, a list of questions, and an id."""
    lines, questions, name = item
    if not all(isinstance(line, str) for line in _a(list, lines, f"{where} text")):
        raise ValueError(f"{where} text must be a list of strings. Correct it, or leave it out.")
    for number, question in enumerate(_a(list, questions, f"{where} questions"), start=1):
        at = f"{where} question {number}"
        question = _a(dict, question, at)
        yield Row({"id": name, "context": "\n".join(lines), **question}, at)


def _a(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        wanted = "a JSON object" if kind is dict else "a JSON list"
        raise ValueError(f"{where} must be {wanted}, got {type(value).__name__}. Correct it, or leave it out.")
    return value


def _whole_characters(row: Row) -> Row:
    """Return the row, unless it holds half of a character, which JSON can escape on its own and no tokenizer takes."""
    for column, value in row.items():
        try:
            json.dumps([column, value], ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            column = ascii(column)[1:-1]
            raise ValueError(f"{row.where}: `{column}` holds {half}, half of a character. Remove it.") from error
    return row


def _csv(file: Path) -> Iterator[Row]:
    yield from _table(file, dialect={"strict": True})


def _tsv(file: Path) -> Iterator[Row]:
    """Yield rows between tabs. A quote is a character like any other, as in the files of GLUE."""
    yield from _table(file, dialect={"delimiter": "\t", "quoting": csv.QUOTE_NONE})


def _table(file: Path, dialect: dict[str, Any]) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # the default refuses texts of more than 131,072 characters
    reader = csv.reader(read_lines(file), **dialect)
    columns: list[str] | None = None
    while True:
        where = f"`{file}` line {reader.line_num + 1}"  # a row in quotes may have several lines
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{where} is no CSV: {error}. Repair it.") from error
        if fields is None:
            return
        if not fields:
            continue
        if columns is None:
            columns = fields
            if twice := sorted({column for column in columns if columns.count(column) > 1}):
                raise ValueError(f"`{file}` has the columns {twice} more than once. Rename or remove them.")
        elif len(fields) != len(columns):
            raise ValueError(
                f"{where} has {len(fields)} fields, and the first line names {len(columns)} columns: {columns}. "
                "Quote texts that hold the separator (.csv), or take it out (.tsv)."
            )
        else:
            yield Row(dict(zip(columns, fields, strict=True)), where)


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow
    from datasets import Features
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            # the datasets library writes the names of classes beside the columns
            class_names = class_names_of(Features.from_arrow_schema(table.schema_arrow))
            number = 0
            for batch in table.iter_batches(batch_size=256):
                for values in batch.to_pylist():
                    number += 1
                    yield row_of_dataset(values, f"`{file}` row {number}", class_names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`{file}` is no parquet file ({reason}). Copy or download it again.") from error


def _plain_lines(file: Path) -> Iterator[Row]:
    for number, line in enumerate(read_lines(file), start=1):
        if line.strip():
            yield Row({"text": line.strip()}, f"`{file}` line {number}")


def _conll(file: Path) -> Iterator[Row]:
    """Yield sentences: a token a line, its tag in the last column (or no tag at all), an empty line between sentences."""
    lines: list[list[str]] = []
    for number, line in enumerate(chain(read_lines(file), [""]), start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        columns = [column.strip() for column in columns]
        if CONLL_COMMENT.match(line) or line.startswith("-DOCSTART-"):
            continue
        if any(columns):
            if lines and len(columns) != len(lines[0]):
                raise ValueError(
                    f"`{file}` line {number} has {len(columns)} columns, the line before it {len(lines[0])}. "
                    "Give each token a line with its tag at the end, and an empty line after each sentence."
                )
            if not lines:
                where = f"`{file}` line {number}"
            lines.append(columns)
        elif lines:
            row = {"tokens": [columns[0] for columns in lines]}
            if len(lines[0]) > 1:
                row["tags"] = [columns[-1] for columns in lines]
            yield Row(row, where)
            lines = []


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".txt": _plain_lines,
    ".conll": _conll,
    ".bio": _conll,
    ".iob2": _conll,
    ".bmes": _conll,
}
