"""Batches by length: the stock pipeline's answers, in order, lazily, whatever runs them."""

import itertools
import random

import pytest
import torch
import transformers
from datasets import Dataset, IterableDataset
from pipeline_helpers import LONG, SENTENCES, assert_same, build, make_pipe, small_tokenizer, stock
from transformers.pipelines.pt_utils import KeyDataset

from electra_plus.pipelines import token_budget
from electra_plus.pipelines.token_budget import batches_by_length, windows

TASKS = {
    "text-classification": "SequenceClassification",
    "token-classification": "TokenClassification",
    "replaced-token-detection": "ReplacedTokenDetection",
    "question-answering": "QuestionAnswering",
}


def texts(number: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = " ".join(SENTENCES).split()
    return [" ".join(rng.choices(words, k=rng.choice([1, 3, 8, 20, 30, 90]))) for _ in range(number)]


def inputs_of(task: str, number: int) -> list:
    if task == "question-answering":
        return [{"question": "Who owns the mill?", "context": text} for text in texts(number)]
    return texts(number)


@pytest.fixture(autouse=True)
def threads():
    """One thread for each product: on a busy machine several wait for each other. And the number is the same afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    assert torch.get_num_threads() == 1, "the caller's number of threads is as it was"
    torch.set_num_threads(before)


def test_batches_hold_every_row_once_and_keep_the_budget():
    lengths = [random.Random(1).randint(1, 90) for _ in range(200)]
    batches = batches_by_length(lengths, 128)
    assert sorted(itertools.chain(*batches)) == list(range(200))
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= 128 for batch in batches)
    assert [lengths[index] for batch in batches for index in batch] == sorted(lengths, reverse=True)
    assert max(map(len, batches_by_length(lengths, 128, batch_size=7))) == 7
    assert batches_by_length([], 128) == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["classic", "modern", "stock"])
def test_answers_together_are_those_alone(task, kind):
    model = stock(TASKS[task].replace("ReplacedTokenDetection", "PreTraining")) if kind == "stock" else None
    pipe = make_pipe(task, model or build(TASKS[task], flavour=kind))
    inputs = inputs_of(task, 30)
    alone = [pipe(one)[0] if task == "text-classification" else pipe(one) for one in inputs]
    for arguments in {}, {"batch_size": 4}, {"num_workers": 0}, {"num_workers": 3}, {"batch_size": 1}:
        assert_same(pipe(inputs, **arguments), alone)


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_a_stock_model_answers_as_in_the_stock_pipeline(task):
    model = stock(TASKS[task], num_labels=3)
    short = [text for text in texts(40) if len(small_tokenizer()(text)["input_ids"]) <= 64]
    expected = transformers.pipeline(task, model, tokenizer=small_tokenizer())(short, batch_size=8)
    assert_same(make_pipe(task, model)(short), expected)


@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_pairs_and_texts_share_a_batch_and_padding_asked_for_hides(flavour):
    model = build("SequenceClassification", flavour=flavour, num_labels=3)
    stock_pipe = transformers.pipeline("text-classification", model, tokenizer=small_tokenizer(), device="cpu")
    pipe = make_pipe("text-classification", model)
    mixed = [SENTENCES[0], {"text": "a", "text_pair": SENTENCES[1]}, "a", {"text": "a b"}]
    for inputs in mixed, mixed[::-1]:
        assert_same(pipe(inputs), stock_pipe(inputs))
    arguments = {"padding": "max_length", "max_length": 40, "truncation": True}
    rows = [*SENTENCES, "a"]
    assert_same(pipe(rows, **arguments), stock_pipe(rows, **arguments))


def test_rows_are_packed_where_padding_would_be_much(monkeypatch):
    widths = []
    model = build("SequenceClassification", flavour="classic")
    forward = model.forward
    pipe = make_pipe("text-classification", model)

    def watched(input_ids=None, document_ids=None, **kwargs):
        widths.append((input_ids.shape, document_ids is not None))
        return forward(input_ids=input_ids, document_ids=document_ids, **kwargs)

    monkeypatch.setattr(model, "forward", watched)
    pipe([SENTENCES[0], "a", "a b", SENTENCES[1]])
    pipe([SENTENCES[0]] * 3)
    assert [packed for _, packed in widths] == [True, False]
    assert widths[0][0].numel() < 4 * len(small_tokenizer()(SENTENCES[0])["input_ids"])


def test_streams_are_read_lazily_and_answered_in_order():
    read = []

    def stream():
        for text in itertools.cycle(texts(50)):
            read.append(text)
            yield text

    pipe = make_pipe("text-classification", build("SequenceClassification", num_labels=3))
    found = pipe(stream())
    assert not read, "nothing is read before it is asked for"
    first = [next(found) for _ in range(60)]
    assert len(read) <= 16 + 32 + 64 + 128, "two windows ahead at most"
    found.close()
    assert_same(first, pipe(read[:60]))
    read.clear()
    found = pipe(stream(), batch_size=1)
    assert_same([next(found) for _ in range(3)], first[:3])
    assert len(read) == 3, "`batch_size=1` reads nothing ahead"


def test_windows_end_by_characters_and_by_errors():
    def stream():
        yield from ["a"] * 20
        raise KeyError("gone")

    assert [(len(window), type(error)) for window, error in windows(stream())] == [(16, type(None)), (4, KeyError)]
    long = ["a" * 600_000] * 5
    assert [len(window) for window, _ in windows(long)] == [2, 2, 1]
    assert list(windows([])) == []


def test_results_before_an_error_in_a_stream_arrive():
    def stream():
        yield from SENTENCES
        yield 5

    pipe = make_pipe("text-classification", build("SequenceClassification"))
    found = []
    with pytest.raises(TypeError, match="must be a text .* got int: 5"):
        for one in pipe(stream()):
            found.append(one)
    assert len(found) == len(SENTENCES)


def test_datasets_of_every_kind():
    pipe = make_pipe("text-classification", build("SequenceClassification", num_labels=3))
    rows = texts(20)
    expected = pipe(rows)
    dataset = Dataset.from_dict({"text": rows})
    keyed = pipe(KeyDataset(dataset, "text"))
    assert len(keyed) == 20
    assert_same(list(keyed), expected)
    assert_same(list(keyed), expected)  # again from the start
    assert_same(list(pipe(dataset["text"])), expected)
    streamed = IterableDataset.from_generator(lambda: ({"text": text} for text in rows))
    assert_same(list(pipe(row["text"] for row in streamed)), expected)
    assert_same(pipe(tuple(rows)), expected)
    assert pipe([]) == [] and list(pipe(iter([]))) == []


def test_an_error_of_the_model_reaches_the_caller(monkeypatch):
    model = build("SequenceClassification")
    pipe = make_pipe("text-classification", model)
    monkeypatch.setattr(token_budget, "TOKENS_PER_BATCH", {"cpu": 64})

    def fail(self, input_ids=None, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(model), "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        pipe(texts(20))


def test_each_batch_computes_on_one_thread(monkeypatch):
    torch.set_num_threads(2)
    model = build("SequenceClassification")
    pipe = make_pipe("text-classification", model)
    monkeypatch.setattr(token_budget, "TOKENS_PER_BATCH", {"cpu": 64})
    numbers = set()
    forward = type(model).forward

    def watched(self, *args, document_ids=None, **kwargs):
        numbers.add(torch.get_num_threads())
        return forward(self, *args, document_ids=document_ids, **kwargs)

    monkeypatch.setattr(type(model), "forward", watched)
    pipe(texts(20))
    assert numbers == {1} and torch.get_num_threads() == 2
    pipe(SENTENCES[0])
    assert numbers == {1, 2}, "a text alone gets all threads"
    torch.set_num_threads(1)


def test_autocast_of_the_caller_holds_in_the_threads():
    pipe = make_pipe("text-classification", build("SequenceClassification", flavour="classic"))
    rows = texts(40)
    with torch.autocast("cpu", torch.bfloat16):
        rough, alone = pipe(rows), [pipe(text)[0] for text in rows]
    exact = pipe(rows)
    differences = [abs(one["score"] - other["score"]) for one, other in zip(rough, exact, strict=True)]
    assert max(differences) > 1e-5
    assert max(abs(a["score"] - b["score"]) for a, b in zip(rough, alone, strict=True)) < 0.1  # bfloat16


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": "8"}, {"num_workers": -1}])
def test_wrong_numbers_are_named(arguments):
    pipe = make_pipe("text-classification", build("SequenceClassification"))
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be an integer of at least"):
        pipe(["a"], **arguments)


def test_numbers_given_at_construction_hold():
    pipe = make_pipe("text-classification", build("SequenceClassification"), batch_size=1, num_workers=0)
    assert_same(pipe(list(SENTENCES)), [pipe(text)[0] for text in SENTENCES])
    assert len(pipe(LONG)) == 1
