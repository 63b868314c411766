"""Where text comes from: text files, tables (jsonl, csv, parquet), datasets of the Hub or on disk; and what is wrong with them."""

import csv
import gzip
import hashlib
import io
import json
import logging
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

KINDS = {
    ".txt": "text",
    ".txt.gz": "text",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
}
# Files that `save_to_disk` of the datasets library leaves in a folder.
DATASET_FILES = ("state.json", "dataset_dict.json")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
TEXT_COLUMNS = ("text", "content", "document", "article", "body", "sentence", "review")
# A longer text without a blank line is taken as several documents, so that memory stays bounded. The longest novels fit.
MAX_DOCUMENT_CHARACTERS = 4_000_000
CUT_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True)
class Source:
    """
    A file or a dataset to read documents from.

    Args:
        name (`str`): Absolute path, the name of a dataset on the Hub, or the address of files elsewhere, `*` included.
        kind (`str`): `"text"`, `"jsonl"`, `"csv"`, `"parquet"` or `"dataset"`; the last for addresses too.
        config (`str`, *optional*): Configuration of a dataset that has several.
        split (`str`, *optional*, defaults to `"train"`): Split of a dataset.
        storage_options (`dict`, *optional*): For fsspec, to open an address. Not written anywhere: it may hold keys.
    """

    name: str
    kind: str
    config: str | None = None
    split: str = "train"
    storage_options: dict[str, Any] | None = field(default=None, repr=False, compare=False)


def find_sources(
    inputs: Sequence[str | Path],
    config: str | None = None,
    split: str = "train",
    storage_options: dict[str, Any] | None = None,
) -> list[Source]:
    """
    Find what there is to read: files as they are given, those of folders in sorted order, datasets by name, addresses.

    A folder with text files is read as text alone, since tables beside texts mostly describe them; a warning says so.

    Args:
        inputs:
            Files, folders of them, folders written by `Dataset.save_to_disk`, datasets on the Hub (`owner/name`), or addresses
            that fsspec opens, such as `s3://bucket/corpus/*.jsonl.gz` or `hf://datasets/owner/name/*.parquet`. What an
            address matches is looked up when it is read, by the datasets library.
        config, split: Of datasets.
        storage_options (`dict`, *optional*): Of addresses; `None` leaves it to fsspec's own configuration and environment.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds nothing to read.
        ValueError: A file of an unknown kind.
    """
    sources: list[Source] = []
    for given in inputs:
        path = Path(given)
        if "://" in str(given):
            if _kind_of(path) is None:
                raise ValueError(f"`input` must be addresses of files that end in {tuple(KINDS)}, got `{given}`.")
            sources.append(Source(str(given), "dataset", storage_options=storage_options))
        elif path.is_dir() and any((path / file).is_file() for file in DATASET_FILES):
            sources.append(Source(str(path.resolve()), "dataset", config, split))
        elif path.is_dir():
            sources.extend(_files_of_folder(path))
        elif path.is_file():
            kind = _kind_of(path)
            if kind is None:
                raise ValueError(
                    f"`input` must be files that end in {tuple(KINDS)}, got `{path}`. Rename or convert it."
                )
            sources.append(Source(str(path.resolve()), kind))
        elif HUB_NAME.fullmatch(str(given)) and path.suffix not in (".txt", ".gz", ".jsonl", ".csv", ".parquet"):
            sources.append(Source(str(given), "dataset", config, split))
        else:
            raise FileNotFoundError(
                f"`{path}` does not exist. Give files, folders, or a dataset of the Hub as `owner/name`."
            )
    return sources


def _kind_of(file: Path) -> str | None:
    return next((kind for suffix, kind in KINDS.items() if file.name.endswith(suffix)), None)


def _files_of_folder(folder: Path) -> list[Source]:
    found = [(file, _kind_of(file)) for file in sorted(folder.rglob("*")) if file.is_file()]
    found = [(file, kind) for file, kind in found if kind is not None]
    if not found:
        raise FileNotFoundError(f"`{folder}` holds no text file. Expected names that end in {tuple(KINDS)}.")
    texts = [(file, kind) for file, kind in found if kind == "text"]
    if texts and len(texts) < len(found):
        logger.warning(
            "`%s`: %d text files are read, %d tables beside them are not. Name those to read them too.",
            folder, len(texts), len(found) - len(texts),
        )  # fmt: skip
    return [Source(str(file.resolve()), kind) for file, kind in texts or found]


def describe_source(source: Source) -> dict[str, Any]:
    """
    Return what identifies a source: path, size in bytes and sha256 of a file; name, rows and fingerprint of a dataset.

    Reads every file once. A dataset of the Hub is downloaded to the cache of the datasets library.
    """
    if source.kind == "dataset":
        dataset = open_dataset(source)
        return {
            "dataset": source.name,
            "config": source.config,
            "split": source.split,
            "rows": dataset.num_rows,
            "fingerprint": dataset._fingerprint,  # the library has no public name for it
        }
    with open(source.name, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": source.name, "kind": source.kind, "bytes": Path(source.name).stat().st_size, "sha256": digest}


def open_dataset(source: Source, streaming: bool = False):
    """
    Open a dataset of the Hub, or one that `save_to_disk` wrote, with the datasets library.

    Args:
        source ([`Source`]): Of the kind `"dataset"`.
        streaming (`bool`, *optional*, defaults to `False`):
            Read a dataset of the Hub, or the files of an address, without downloading them first.

    Returns:
        `datasets.Dataset`, memory-mapped, or `datasets.IterableDataset` where `streaming`.

    Raises:
        FileNotFoundError: There is no such dataset or address, or the Hub or the storage cannot be reached.
        ValueError: It has no such configuration or split.
    """
    from datasets import Dataset, load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    folder = Path(source.name)
    if any((folder / file).is_file() for file in DATASET_FILES):
        dataset = load_from_disk(str(folder))
        if isinstance(dataset, Dataset):
            return dataset
        if source.split not in dataset:
            raise ValueError(f"`split` must be one of {list(dataset)} for `{folder}`, got {source.split!r}.")
        return dataset[source.split]
    try:
        if "://" in source.name:
            kind = _kind_of(Path(source.name))
            # as in our own text files, a blank line ends a document
            how = {"sample_by": "paragraph"} if kind == "text" else {}
            how.update(data_files=source.name, storage_options=source.storage_options)
            return load_dataset("json" if kind == "jsonl" else kind, split="train", streaming=streaming, **how)
        return load_dataset(source.name, source.config, split=source.split, streaming=streaming)
    except ValueError as error:  # names the configurations or splits there are
        raise ValueError(f"`{source.name}`: {_one_line(error)} See `--dataset-config` and `--split`.") from error
    except (OSError, ImportError) as error:
        if "://" in source.name:
            raise FileNotFoundError(
                f"`{source.name}` cannot be opened ({_one_line(error)}). Check the address, `storage_options`, and that the "
                "package for its protocol is installed (s3fs for s3://, gcsfs for gs://)."
            ) from error
        raise FileNotFoundError(
            f"`{source.name}` does not exist here, and is no dataset of the Hub that can be reached ({_one_line(error)}). "
            "Check the spelling and the network."
        ) from error
    except DatasetsError as error:
        raise ValueError(f"`{source.name}` cannot be read by the datasets library: {_one_line(error)}") from error


def deals_itself(source: Source) -> bool:
    """Whether the datasets library deals out a stream's files to processes and to the workers of a data loader."""
    saved = any(Path(source.name, file).is_file() for file in DATASET_FILES)
    return source.kind == "dataset" and not saved


def read_source(
    source: Source,
    text_column: str | None = None,
    streaming: bool = False,
    on_position: Callable[[int], None] | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[list[str]]:
    """
    Yield the documents of a source, each a list of paragraphs without white space around them; empty ones are left out.

    In text files a paragraph is a line and a blank line ends a document. In tables a row is a document and each line of its
    text a paragraph.

    Args:
        source ([`Source`]): What to read.
        text_column (`str`, *optional*): Column of tables. `None` takes the only one, or the only one with a usual name.
        streaming (`bool`, *optional*, defaults to `False`): As for [`open_dataset`].
        on_position (`Callable`, *optional*): Told how many bytes of a file have been read, document by document.
        share (`tuple[int, int]`, *optional*, defaults to `(0, 1)`):
            Rank and number of processes, for streams that [`deals_itself`]: whole files where the number of files can be
            divided by that of processes, else every so many rows. Of such a share a worker of a data loader reads its own
            part. Other sources are read whole.

    Raises:
        ValueError: The text is not UTF-8, a compressed file is broken, a line is no JSON, or no column is clearly the text.
    """
    on_position = on_position or (lambda position: None)
    if source.kind == "text":
        yield from _text_documents(Path(source.name), on_position)
        return
    tables = {"jsonl": _jsonl_texts, "csv": _csv_texts, "parquet": _parquet_texts}
    if source.kind == "dataset":
        texts = _dataset_texts(source, text_column, streaming, share)
    else:
        texts = tables[source.kind](Path(source.name), text_column, on_position)
    for text in texts:
        if document := [line.strip() for line in text.splitlines() if line.strip()]:
            yield document


def choose_text_column(columns: Sequence[str], given: str | None, name: str | Path) -> str:
    """
    Return the column that holds the text.

    Args:
        columns (`Sequence[str]`): Columns there are.
        given (`str`, *optional*): The one the user named.
        name: Of the source, for error messages.

    Raises:
        ValueError: There is no such column, or none is clearly the text.
    """
    if given is not None:
        if given not in columns:
            raise ValueError(f"`text_column` must be a column of `{name}`, one of {list(columns)}, got {given!r}.")
        return given
    if len(columns) == 1 or "text" in columns:
        return columns[0] if len(columns) == 1 else "text"
    usual = [column for column in columns if column in TEXT_COLUMNS]
    if len(usual) != 1:
        raise ValueError(
            f"`{name}` has the columns {list(columns)}, none of them clearly the text. Name it: `--text-column`."
        )
    return usual[0]


def _binary(file: Path, raw: BinaryIO) -> BinaryIO:
    return gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw


def read_lines(file: Path, on_position: Callable[[int], None] | None = None) -> Iterator[str]:
    """
    Yield the lines of a UTF-8 file with their ends, plain or `.gz`, with or without byte order mark.

    Args:
        file (`Path`): What to read.
        on_position (`Callable`, *optional*): Told after each line how many bytes of the file have been read.

    Raises:
        ValueError: The text is not UTF-8, or a compressed file is broken.
    """
    with file.open("rb") as raw:
        try:
            # newline="": lines end as everywhere, and csv finds the ends inside quotes as they are
            for line in io.TextIOWrapper(_binary(file, raw), encoding="utf-8-sig", newline=""):
                yield line
                if on_position is not None:
                    on_position(raw.tell())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"`{file}` line {_line_of_bad_bytes(file)} cannot be read as UTF-8 text ({error}). Convert the file."
            ) from error
        except CUT_GZIP as error:
            raise ValueError(f"`{file}` is a broken gzip file ({error}). Copy or download it again.") from error


def _line_of_bad_bytes(file: Path) -> int:
    """Return the number of the first line that is not UTF-8: the text layer reads ahead of what it has given out."""
    with file.open("rb") as raw:
        for number, line in enumerate(_binary(file, raw), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    raise AssertionError(f"{file} is UTF-8 after all")


def _text_documents(file: Path, on_position: Callable[[int], None]) -> Iterator[list[str]]:
    document: list[str] = []
    size = 0
    for line in read_lines(file, on_position):
        line = line.strip()
        if document and (not line or size + len(line) > MAX_DOCUMENT_CHARACTERS):
            yield document
            document, size = [], 0
        if line:
            document.append(line)
            size += len(line)
    if document:
        yield document


def read_json_lines(
    file: Path, on_position: Callable[[int], None] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Yield the objects of a file of JSON lines, each with the number of its line from 1; blank lines are left out.

    Raises:
        ValueError: A line is no JSON or no object, or as for [`read_lines`].
    """
    for number, line in enumerate(read_lines(file, on_position), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # also integers of too many digits, and lists too deep
            raise ValueError(f"`{file}` line {number} is no JSON: {error}. Give one object a line.") from error
        if not isinstance(row, dict):
            raise ValueError(
                f"`{file}` line {number} must be a JSON object, got {type(row).__name__}. Give one object a line."
            )
        yield number, row


def _jsonl_texts(file: Path, text_column: str | None, on_position: Callable[[int], None]) -> Iterator[str]:
    column = None
    for number, row in read_json_lines(file, on_position):
        if column is None:
            column = choose_text_column([*row], text_column, file)
        if column not in row:
            raise ValueError(f"`{file}` line {number} has no {column!r}, only {[*row]}. Leave out such lines.")
        yield _checked_text(row[column], column, f"`{file}` line {number}")


def _csv_texts(file: Path, text_column: str | None, on_position: Callable[[int], None]) -> Iterator[str]:
    csv.field_size_limit(2**31 - 1)  # the default refuses documents of more than 131,072 characters
    reader = csv.DictReader(read_lines(file, on_position), strict=True)
    try:
        column = choose_text_column(reader.fieldnames or [], text_column, file)
        for row in reader:
            yield _checked_text(row[column], column, f"`{file}` line {reader.line_num}")
    except csv.Error as error:
        # the number of the last row that was whole: an open quote runs on to the end of the file
        raise ValueError(f"`{file}` line {reader.line_num + 1} is no CSV: {error}. Repair it.") from error


def _parquet_texts(file: Path, text_column: str | None, on_position: Callable[[int], None]) -> Iterator[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            columns = [field.name for field in table.schema_arrow if _is_string(field.type)]
            column = choose_text_column(columns, text_column, file)
            rows_read = 0
            for batch in table.iter_batches(batch_size=256, columns=[column]):
                for text in batch.column(0).to_pylist():
                    yield text or ""
                rows_read += len(batch)
                on_position(Path(file).stat().st_size * rows_read // table.metadata.num_rows)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"`{file}` is no parquet file ({_one_line(error)}). Copy or download it again.") from error


def _is_string(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _dataset_texts(source: Source, text_column: str | None, streaming: bool, share: tuple[int, int]) -> Iterator[str]:
    dataset = open_dataset(source, streaming)
    if streaming and deals_itself(source) and share[1] > 1:
        from datasets.distributed import split_dataset_by_node

        dataset = split_dataset_by_node(dataset, *share)
    # a stream may know its columns only from its first row, and a worker may have none
    columns = dataset.column_names or [*next(iter(dataset), {})]
    if not columns:
        return
    features = dataset.features or {}
    strings = [name for name in columns if getattr(features.get(name), "dtype", "string") in ("string", "large_string")]
    column = choose_text_column(strings, text_column, source.name)
    for number, row in enumerate(dataset.select_columns(column), start=1):
        yield _checked_text(row[column], column, f"`{source.name}` row {number}")


def _checked_text(value: Any, column: str, where: str) -> str:
    """Return a text, an empty one for a missing value."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{where}: {column!r} must be text, got {value!r}. Name another column: `--text-column`.")
    # json may escape halves of a character on their own, which no tokenizer takes
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
