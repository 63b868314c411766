"""Rows made on the fly: all documents once, whoever reads them, and the same ones after a skip."""

import gzip
import json

import fsspec
import pyarrow
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet
from torch.utils.data import DataLoader

from electra_plus.data.documents import document_key
from electra_plus.data.sources import find_sources
from electra_plus.data.streaming import StreamingRows

DOCUMENTS = [[f"the cat sat on the mat {number}", "the dog slept " * (number % 7)] for number in range(90)]
DOCUMENTS = [[text.strip() for text in document if text.strip()] for document in DOCUMENTS]


@pytest.fixture
def stream(tmp_path, tokenizer):
    """A function that makes the stream of ninety documents in two files, of windows of about ten."""
    for name, part in (("a", DOCUMENTS[:50]), ("b", DOCUMENTS[50:])):
        (tmp_path / f"{name}.txt").write_text("\n\n".join("\n".join(document) for document in part), encoding="utf-8")
    sources = find_sources([tmp_path])

    def make(**arguments):
        return StreamingRows(sources, tokenizer, row_length=32, **{"window_characters": 500, **arguments})

    return make


def pieces(rows):
    """The pieces of documents in rows, without their order."""
    found = []
    for row in rows:
        assert len(row["input_ids"]) == len(row["document_ids"]) <= 32
        for number in range(row["document_ids"][-1] + 1):
            here = [token for token, of in zip(row["input_ids"], row["document_ids"], strict=True) if of == number]
            found.append(tuple(here[1:-1]))
    return sorted(found)


def tokens_of(tokenizer, documents):
    return sorted(
        token
        for document in documents
        for text in document
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    )


def test_every_document_is_read_once_with_little_padding(stream, tokenizer):
    rows = list(stream())
    assert sorted(token for piece in pieces(rows) for token in piece) == tokens_of(tokenizer, DOCUMENTS)
    whole = list(stream(window_characters=10**6))
    assert 1 - sum(len(row["input_ids"]) for row in whole) / (32 * len(whole)) < 0.02


def test_processes_share_the_documents(stream, tokenizer):
    rows = [row for rank in range(3) for row in stream(rank=rank, world_size=3)]
    assert sorted(token for piece in pieces(rows) for token in piece) == tokens_of(tokenizer, DOCUMENTS)


def test_launchers_variables_say_which_share(stream, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(stream()) == list(stream(rank=1, world_size=2)) != list(stream(rank=0, world_size=2))


def test_held_out_documents_are_those_of_the_hash(stream, tokenizer):
    for part, expected in (("train", False), ("held_out", True)):
        chosen = [one for one in DOCUMENTS if (document_key(one).held_out_draw < 0.3) == expected]
        rows = list(stream(part=part, held_out_fraction=0.3))
        assert sorted(token for piece in pieces(rows) for token in piece) == tokens_of(tokenizer, chosen)


def test_epochs_differ_in_order_only(stream):
    rows = stream()
    first, again = list(rows), list(rows)
    rows.set_epoch(1)
    second = list(rows)
    assert first == again != second
    assert pieces(first) == pieces(second)


@pytest.mark.parametrize("given", [0, 1, 17, 40])
def test_state_goes_on_with_the_next_row_without_tokenising_what_was_read(stream, given, monkeypatch):
    from electra_plus.data import streaming

    expected = list(stream())
    rows = stream()
    running = iter(rows)
    assert [next(running) for _ in range(given)] == expected[:given]
    state = rows.state_dict()
    other = stream()
    other.load_state_dict(state)
    encoded = []
    encode = streaming.encode_documents
    monkeypatch.setattr(
        streaming, "encode_documents", lambda documents, *rest: encoded.extend(documents) or encode(documents, *rest)
    )
    assert list(other) == expected[given:]
    assert len(encoded) == 90 - state["document"]
    assert list(other) == expected  # the next pass begins at the beginning


def test_start_at_a_batch_skips_those_before(stream):
    expected = list(DataLoader(stream(), batch_size=4, collate_fn=list))
    rows = stream()
    rows.start_at(3, batch_size=4)
    assert list(DataLoader(rows, batch_size=4, collate_fn=list)) == expected[3:]
    rows.set_epoch(1)  # holds for its own epoch only
    assert len(list(DataLoader(rows, batch_size=4, collate_fn=list))) == len(expected)


@pytest.mark.multiprocess
def test_workers_share_the_documents_and_start_where_they_would_have_been(stream, tokenizer):
    loader = {"batch_size": 2, "collate_fn": list, "num_workers": 3}
    expected = list(DataLoader(stream(), **loader))
    rows = [row for batch in expected for row in batch]
    assert sorted(token for piece in pieces(rows) for token in piece) == tokens_of(tokenizer, DOCUMENTS)
    resumed = stream()
    resumed.start_at(4, batch_size=2)
    found = list(DataLoader(resumed, **loader))
    # the workers run dry at different times, which may change the turns of the last batches
    assert found[:6] == expected[4:10]
    assert sorted(map(str, found)) == sorted(map(str, expected[4:]))


@pytest.fixture(params=["jsonl.gz", "txt", "parquet"])
def remote(request):
    """The address of the documents in six files on a file system in memory, and what makes a stream of it."""
    fs = fsspec.filesystem("memory")
    for number in range(6):
        texts = ["\n".join(document) for document in DOCUMENTS[number * 15 : (number + 1) * 15]]
        with fs.open(f"/corpus/part-{number}.{request.param}", "wb") as file:
            if request.param == "parquet":
                parquet.write_table(pyarrow.table({"text": texts}), file)
            elif request.param == "txt":
                file.write("\n\n".join(texts).encode())
            else:
                file.write(gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in texts).encode()))
    yield f"memory://corpus/*.{request.param}"
    fs.rm("/corpus", recursive=True)


def test_files_elsewhere_are_dealt_out_whole(remote, tokenizer, monkeypatch):
    from electra_plus.data import streaming

    read = []
    original = streaming.read_source
    monkeypatch.setattr(
        streaming, "read_source", lambda *args, **kwargs: (read.append(one) or one for one in original(*args, **kwargs))
    )
    sources = find_sources([remote])
    shares = [list(StreamingRows(sources, tokenizer, 32, rank=rank, world_size=2)) for rank in (0, 1)]
    assert all(shares)
    rows = [row for share in shares for row in share]
    assert sorted(token for piece in pieces(rows) for token in piece) == tokens_of(tokenizer, DOCUMENTS)
    assert len(read) == len(DOCUMENTS)  # not each process all


def test_a_stream_from_elsewhere_goes_on_where_it_stood(remote, tokenizer):
    def make():
        return StreamingRows(find_sources([remote]), tokenizer, 32, rank=1, world_size=2, window_characters=500)

    expected, rows = list(make()), make()
    running = iter(rows)
    given = [next(running) for _ in range(7)]
    resumed = make()
    resumed.load_state_dict(rows.state_dict())
    assert given + list(resumed) == expected


def test_files_elsewhere_and_here_are_read_once(remote, tmp_path, tokenizer):
    (tmp_path / "here.txt").write_text("\n\n".join(f"the cat sat {number}" for number in range(9)), encoding="utf-8")
    sources = find_sources([remote, tmp_path])
    rows = [row for rank in range(4) for row in StreamingRows(sources, tokenizer, 32, rank=rank, world_size=4)]
    documents = [*DOCUMENTS, *([f"the cat sat {number}"] for number in range(9))]
    assert sorted(token for piece in pieces(rows) for token in piece) == tokens_of(tokenizer, documents)


@pytest.mark.multiprocess
def test_workers_share_files_elsewhere(remote, tokenizer):
    rows = StreamingRows(find_sources([remote]), tokenizer, 32, rank=0, world_size=1)
    batches = DataLoader(rows, batch_size=2, collate_fn=list, num_workers=3, multiprocessing_context="fork")
    found = [row for batch in batches for row in batch]
    assert sorted(token for piece in pieces(found) for token in piece) == tokens_of(tokenizer, DOCUMENTS)


class LockedFileSystem(MemoryFileSystem):
    """The files in memory, for those who have the key."""

    protocol = "locked"

    def __init__(self, *args, key: str = "", **kwargs):
        if key != "secret":
            raise PermissionError("no key, no files")
        super().__init__(*args, **kwargs)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("locked://"))


def test_storage_options_reach_the_file_system(remote, tokenizer):
    fsspec.register_implementation("locked", LockedFileSystem, clobber=True)
    address = remote.replace("memory://", "locked://")
    sources = find_sources([address], storage_options={"key": "secret"})
    assert list(StreamingRows(sources, tokenizer, 32)) == list(StreamingRows(find_sources([remote]), tokenizer, 32))
    assert "secret" not in repr(sources)
    with pytest.raises(FileNotFoundError, match="no key, no files.*`storage_options`"):
        list(StreamingRows(find_sources([address]), tokenizer, 32))


def test_addresses_of_other_files_are_refused():
    with pytest.raises(ValueError, match="addresses of files that end in"):
        find_sources(["s3://bucket/corpus/"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "test"}, "`part` must be 'train' or 'held_out', got 'test'"),
        ({"rank": 2, "world_size": 2}, r"`rank` must be in \[0, 2\), the `world_size`, got 2"),
    ],
)
def test_wrong_arguments_are_refused(stream, arguments, message):
    with pytest.raises(ValueError, match=message):
        stream(**arguments)
