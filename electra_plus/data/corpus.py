"""Text files as documents, and documents as rows of token ids."""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

TEXT_SUFFIXES = (".txt", ".txt.gz")


def find_text_files(paths: Sequence[str | Path]) -> list[Path]:
    """
    Return the text files among `paths`, with folders searched for `.txt` and `.txt.gz`, in sorted order.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no text file.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.name.endswith(TEXT_SUFFIXES))
            if not found:
                raise FileNotFoundError(f"`{path}` holds no text file. Expected names that end in {TEXT_SUFFIXES}.")
            files.extend(found)
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"`{path}` does not exist. Give text files or folders of them.")
    return files


def read_documents(paths: Sequence[str | Path]) -> Iterator[list[str]]:
    """
    Yield the documents of text files, each a list of paragraphs: one paragraph a line, a blank line between documents.

    Args:
        paths: Files (`.txt`, `.txt.gz`, UTF-8) or folders of them.

    Raises:
        ValueError: A file is not UTF-8 text.
    """
    for file in find_text_files(paths):
        opener = gzip.open if file.suffix == ".gz" else open
        document: list[str] = []
        try:
            with opener(file, "rt", encoding="utf-8") as lines:
                for line in lines:
                    if line := line.strip():
                        document.append(line)
                    elif document:
                        yield document
                        document = []
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise ValueError(f"`{file}` cannot be read as UTF-8 text ({error}). Convert or repair it.") from error
        if document:
            yield document


class TokenRows(Dataset):
    """
    Rows of token ids, for a collator to pad and mask.

    Args:
        rows (`list[list[int]]`): Token ids with special tokens.
    """

    def __init__(self, rows: list[list[int]]):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self.rows[index]}


def pack_rows(
    documents: Iterable[Sequence[str]], tokenizer: PreTrainedTokenizerBase, row_length: int, min_tokens: int = 8
) -> TokenRows:
    r"""
    Cut each document's running text into rows of `row_length` tokens, `[CLS]` and `[SEP]` included.

    A row never crosses documents; the rest of one is a shorter row.

    Args:
        documents: Documents as lists of paragraphs.
        tokenizer ([`PreTrainedTokenizerBase`]): With `[CLS]` and `[SEP]`.
        row_length (`int`): Tokens in a row, more than 2.
        min_tokens (`int`, *optional*, defaults to 8): A rest shorter than this, in tokens, is dropped.

    Returns:
        [`TokenRows`]

    Raises:
        ValueError: `row_length` leaves no room for text, or there is no text.
    """
    room = row_length - 2
    if room < 1:
        raise ValueError(f"`row_length` must be at least 3 tokens, got {row_length}.")
    rows: list[list[int]] = []
    for document in documents:
        # verbose=False: a whole document is longer than the model's limit on purpose
        encoded = tokenizer(list(document), add_special_tokens=False, return_attention_mask=False, verbose=False)
        ids = [token for paragraph in encoded["input_ids"] for token in paragraph]
        for start in range(0, len(ids), room):
            piece = ids[start : start + room]
            if len(piece) >= min(min_tokens, room):
                rows.append([tokenizer.cls_token_id, *piece, tokenizer.sep_token_id])
    if not rows:
        raise ValueError("`documents` holds no text to train on. Check the input files.")
    return TokenRows(rows)
