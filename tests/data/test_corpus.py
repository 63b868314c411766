import gzip

import pytest

from electra_plus.data.corpus import pack_rows, read_documents
from electra_plus.data.tokenization import train_wordpiece_tokenizer


def test_blank_lines_separate_documents(tmp_path):
    (tmp_path / "b.txt").write_text("one\ntwo\n\n\nthree\n", encoding="utf-8")
    with gzip.open(tmp_path / "a.txt.gz", "wt", encoding="utf-8") as file:
        file.write("书\n")
    assert list(read_documents([tmp_path])) == [["书"], ["one", "two"], ["three"]]


def test_missing_file_and_empty_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(read_documents([tmp_path / "nothing.txt"]))
    with pytest.raises(FileNotFoundError, match="no text file"):
        list(read_documents([tmp_path]))


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.txt.*UTF-8"):
        list(read_documents([tmp_path]))


def test_truncated_gzip_file_is_refused(tmp_path):
    whole = gzip.compress(b"some words\n" * 1000)
    (tmp_path / "cut.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.txt.gz"):
        list(read_documents([tmp_path]))


def test_rows_are_filled_and_never_cross_documents():
    tokenizer = train_wordpiece_tokenizer(["a b c d e f g"] * 5, vocab_size=30)
    ids = {letter: tokenizer.convert_tokens_to_ids(letter) for letter in "abcdefg"}
    rows = pack_rows([["a b", "c d e"], ["f g"]], tokenizer, row_length=5, min_tokens=1)
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert rows.rows == [
        [cls, ids["a"], ids["b"], ids["c"], sep],
        [cls, ids["d"], ids["e"], sep],
        [cls, ids["f"], ids["g"], sep],
    ]
    assert len(pack_rows([["a b", "c d e"], ["f g"]], tokenizer, row_length=5, min_tokens=3)) == 1


def test_no_text_is_refused():
    tokenizer = train_wordpiece_tokenizer(["a b c"] * 5, vocab_size=30)
    with pytest.raises(ValueError, match="no text"):
        pack_rows([["a"]], tokenizer, row_length=16)
