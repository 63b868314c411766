"""Pipelines over texts of any length: stock's answers where a text fits, all of the text where it does not."""

import pytest
import torch
import transformers
from pipeline_helpers import LONG, SENTENCES, SHORT, assert_same, build, make_pipe, small_tokenizer

import electra_plus
from electra_plus.data.chunking import chunk_text, chunked_row
from electra_plus.pipelines.question_answering import best_spans


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


def logits_of(model, chunks):
    rows = [
        {"input_ids": torch.tensor([chunk.input_ids]), "token_type_ids": torch.tensor([chunk.token_type_ids])}
        for chunk in chunks
    ]
    with torch.no_grad():
        return [model(**row) for row in rows]


@pytest.mark.parametrize("flavour", ["classic", "modern"])
@pytest.mark.parametrize(
    ("task", "head"),
    [("text-classification", "SequenceClassification"), ("token-classification", "TokenClassification")],
)
def test_a_text_that_fits_gives_what_stock_gives(task, head, flavour, tokenizer):
    model = build(head, tokenizer, flavour, num_labels=3)
    stock = transformers.pipeline(task, model, tokenizer=tokenizer)
    ours = make_pipe(task, model, tokenizer)
    texts = [SHORT, SENTENCES[2], "", SENTENCES[3]]
    assert_same(ours(texts), stock(texts))
    assert ours(SHORT) == stock(SHORT)


def test_pairs_and_tokenizer_arguments_go_the_stock_way(tokenizer):
    model = build("SequenceClassification", tokenizer, num_labels=3)
    stock = transformers.pipeline("text-classification", model, tokenizer=tokenizer)
    ours = make_pipe("text-classification", model, tokenizer)
    pair = {"text": SENTENCES[0], "text_pair": SENTENCES[1]}
    assert ours(pair) == stock(pair)
    assert ours(LONG, truncation=True) == stock(LONG, truncation=True)
    assert ours(SHORT, top_k=None) == stock(SHORT, top_k=None)


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_long_texts_are_aggregated_from_all_chunks(aggregation, tokenizer):
    model = build("SequenceClassification", tokenizer, num_labels=3)
    chunks = chunk_text(LONG, tokenizer, 40)
    assert len(chunks) > 3
    rows = torch.cat([outputs.logits for outputs in logits_of(model, chunks)])
    lengths = torch.tensor([float(len(chunk.input_ids)) for chunk in chunks])
    expected = rows.amax(0) if aggregation == "max" else (rows * lengths[:, None]).sum(0) / lengths.sum()
    answer = make_pipe("text-classification", model, tokenizer)(
        LONG, chunk_length=40, aggregation=aggregation, top_k=None
    )
    scores = {found["label"]: found["score"] for found in answer}
    assert [scores[f"LABEL_{label}"] for label in range(3)] == pytest.approx(expected.softmax(0).tolist(), abs=1e-5)


def test_evidence_of_a_row_classifier_is_each_passage_alone(tokenizer):
    model = build("SequenceClassification", tokenizer, num_labels=3)
    pipe = make_pipe("text-classification", model, tokenizer, chunk_length=40)
    (plain,), (answer,) = pipe(LONG), pipe(LONG, return_evidence=True, num_passages=99)
    evidence = answer.pop("evidence")
    assert plain == answer, "asking why changes no answer"
    assert len(evidence) == len(chunk_text(LONG, tokenizer, 40))
    assert [passage["score"] for passage in evidence] == sorted((p["score"] for p in evidence), reverse=True)
    for passage in evidence:
        assert passage["text"] == LONG[passage["start"] : passage["end"]]
        alone = {found["label"]: found["score"] for found in pipe(passage["text"], top_k=None)}
        assert passage["score"] == pytest.approx(alone[answer["label"]], abs=1e-5)


def test_a_model_that_reads_chunks_together_sees_whole_sentences(tokenizer):
    model = build("LongSequenceClassification", tokenizer, num_labels=3, chunk_length=24)
    chunks = chunk_text(LONG, tokenizer, 24)
    row = {name: torch.tensor([values]) for name, values in chunked_row(chunks).items()}
    with torch.no_grad():
        expected = model(**row)
    (answer,) = make_pipe("text-classification", model, tokenizer)(LONG, return_evidence=True, num_passages=99)
    assert answer["score"] == pytest.approx(expected.logits.softmax(-1).max().item(), abs=1e-5)
    found = {(passage["start"], passage["end"]): passage["score"] for passage in answer["evidence"]}
    weights = dict(zip([chunk.span for chunk in chunks], expected.chunk_weights[0].tolist(), strict=True))
    assert found == pytest.approx(weights, abs=1e-6)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-5)
    assert all(LONG[end - 1] in ".!。" for _, end in found)


@pytest.mark.parametrize("head", ["SequenceClassification", "LongSequenceClassification"])
@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_batches_change_no_answer(head, flavour, tokenizer):
    model = build(head, tokenizer, flavour, num_labels=3, chunk_length=24)
    pipe = make_pipe("text-classification", model, tokenizer)
    texts = [LONG, SHORT, "", LONG[: len(LONG) // 2], SENTENCES[3]]
    arguments = {"return_evidence": True, "num_passages": 99}
    alone = [pipe(text, **arguments)[0] for text in texts]
    for together in pipe(texts, **arguments), pipe(texts, **arguments, batch_size=3):
        for one, other in zip(alone, together, strict=True):
            assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-5)
            passages = [{p["start"]: p["score"] for p in answer["evidence"]} for answer in (one, other)]
            assert passages[0] == pytest.approx(passages[1], abs=1e-5)


def test_the_stock_pipeline_opens_a_long_reader(tokenizer, tmp_path):
    model = build("LongSequenceClassification", tokenizer, num_labels=3, chunk_length=24)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = transformers.pipeline("text-classification", str(tmp_path))
    assert type(pipe.model) is electra_plus.ElectraPlusForLongSequenceClassification
    with torch.no_grad():
        expected = model(**tokenizer(LONG, return_tensors="pt", verbose=False)).logits.softmax(-1).max().item()
    assert pipe(LONG)[0]["score"] == pytest.approx(expected, abs=1e-5)
    pair = {"text": LONG, "text_pair": SHORT}
    ours = electra_plus.pipeline("text-classification", str(tmp_path))
    assert ours(pair)["score"] == pytest.approx(pipe(pair)["score"], abs=1e-6)


@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_a_long_text_is_tagged_to_its_end(strategy, tokenizer):
    model = build("TokenClassification", tokenizer, num_labels=3)
    pipe = make_pipe("token-classification", model, tokenizer, aggregation_strategy=strategy)
    found = pipe(LONG, chunk_length=40, overlap=0)
    expected = []
    for chunk in chunk_text(LONG, tokenizer, 40):
        start, end = chunk.span
        for entity in pipe(LONG[start:end]):
            expected.append((entity["start"] + start, entity["end"] + start, entity["word"]))
    assert [(entity["start"], entity["end"], entity["word"]) for entity in found] == expected
    assert found[-1]["end"] > len(LONG) - 60


def test_what_two_chunks_see_is_tagged_once(tokenizer):
    model = build("TokenClassification", tokenizer, num_labels=3)
    found = make_pipe("ner", model, tokenizer)(LONG, chunk_length=48, overlap=24)
    starts = [entity["start"] for entity in found]
    assert len(chunk_text(LONG, tokenizer, 48, 24)) > len(chunk_text(LONG, tokenizer, 48))
    assert starts == sorted(set(starts)) and starts[-1] > len(LONG) - 60


def test_best_spans_are_those_of_every_pair():
    torch.manual_seed(0)
    start, end = torch.randn(9), torch.randn(9)
    pairs = [(start[i] + end[j], i, j) for i in range(9) for j in range(i, min(9, i + 4))]
    expected = sorted(((score.item(), i, j) for score, i, j in pairs), reverse=True)[:20]
    assert best_spans(start, end, 4) == expected


@pytest.mark.parametrize("flavour", ["classic", "modern"])
def test_answers_of_all_chunks_compete(flavour, tokenizer):
    model = build("QuestionAnswering", tokenizer, flavour)
    question = "Who owns the mill?"
    chunks = chunk_text(LONG, tokenizer, 40, 5, question)
    assert len(chunks) > 3
    candidates = {}
    for chunk, outputs in zip(chunks, logits_of(model, chunks), strict=True):
        assert chunk.input_ids[: chunk.text_tokens.start] == tokenizer(question)["input_ids"]
        for i in chunk.text_tokens:
            for j in range(i, min(chunk.text_tokens.stop, i + 7)):
                span = (chunk.offsets[i][0], chunk.offsets[j][1])
                score = (outputs.start_logits[0, i] + outputs.end_logits[0, j]).item()
                candidates[span] = max(score, candidates.get(span, score))
    expected = sorted(candidates, key=lambda span: -candidates[span])[:5]
    pipe = make_pipe("question-answering", model, tokenizer)
    arguments = {"chunk_length": 40, "overlap": 5, "max_answer_length": 7}
    found = pipe(question=question, context=LONG, top_k=5, **arguments)
    assert [(answer["start"], answer["end"]) for answer in found] == expected
    assert all(answer["answer"] == LONG[answer["start"] : answer["end"]] for answer in found)
    one = {"question": question, "context": LONG}
    batched = pipe([one, {"question": question, "context": SHORT}], batch_size=3, **arguments)
    assert batched[0]["answer"] == found[0]["answer"] and batched[0]["score"] == pytest.approx(
        found[0]["score"], abs=1e-5
    )


def test_an_answer_may_be_that_there_is_none(tokenizer):
    model = build("QuestionAnswering", tokenizer)
    model.qa_outputs.weight.data.zero_()
    pipe = make_pipe("question-answering", model, tokenizer)
    one = {"question": "Who?", "context": SENTENCES[2]}
    every = pipe(one, top_k=99, handle_impossible_answer=True)
    assert {k: v for k, v in every[-1].items() if k != "score"} == {"answer": "", "start": 0, "end": 0}
    assert sum(answer["score"] for answer in every) == pytest.approx(1.0)
    assert all(answer["answer"] for answer in pipe(one, top_k=99))


@pytest.mark.parametrize(
    ("task", "head", "call", "message"),
    [
        ("text-classification", "SequenceClassification", {"aggregation": "sum"}, "`aggregation` must be one of"),
        ("text-classification", "SequenceClassification", {"num_passages": 0}, "`num_passages` must be at least 1"),
        ("text-classification", "SequenceClassification", {"chunk_length": 99}, "`chunk_length` must be at most 64"),
        ("token-classification", "TokenClassification", {"chunk_length": 2}, "`chunk_length` must be at least 3"),
        ("question-answering", "QuestionAnswering", {"top_k": 0}, "`top_k` must be at least 1"),
        ("question-answering", "QuestionAnswering", {"chunk_length": 5}, "two more than `question`"),
    ],
)
def test_wrong_arguments_are_named(task, head, call, message, tokenizer):
    pipe = make_pipe(task, build(head, tokenizer), tokenizer)
    inputs = {"question": "Who owns the mill?", "context": LONG} if head == "QuestionAnswering" else LONG
    with pytest.raises(ValueError, match=message):
        pipe(inputs, **call)


@pytest.mark.parametrize("inputs", [{"question": "", "context": "a"}, {"question": "a"}, "a", [{"context": None}]])
def test_a_question_needs_both_texts(inputs, tokenizer):
    pipe = make_pipe("question-answering", build("QuestionAnswering", tokenizer), tokenizer)
    with pytest.raises(ValueError, match="must be a text with at least one word"):
        pipe(inputs)


def test_other_tasks_are_stock(tokenizer):
    model = build("MaskedLM", tokenizer)
    pipe = make_pipe("fill-mask", model, tokenizer)
    assert type(pipe) is transformers.pipelines.FillMaskPipeline
    assert electra_plus.pipeline is electra_plus.pipelines.pipeline
