"""Whatever comes in, an answer or one line that says what to do; as many results as inputs, in order, the same alone."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_helpers import SENTENCES, assert_same, build, make_pipe, small_tokenizer, stock, translator

LENGTHENED = 20  # copies of a text, to make it longer than a row

BUILDERS = {
    "text-classification": lambda: build("SequenceClassification", num_labels=3),
    "long-text-classification": lambda: build("LongSequenceClassification", num_labels=3, chunk_length=16),
    "token-classification": lambda: build("TokenClassification", num_labels=3),
    "question-answering": lambda: build("QuestionAnswering"),
    "replaced-token-detection": lambda: build("ReplacedTokenDetection"),
    "translation": translator,
}
# any code point, lone surrogates and control characters too, beside what tokenizers treat in ways of their own
CHARACTERS = st.one_of(
    st.characters(),
    st.characters(categories=["Cs"]),
    st.characters(categories=["Cc", "Cf", "Zs"]),
    st.sampled_from(
        ["a", "我", "é", "\u0301", "ß", "ﬁ", "😀", "\u200b", "\ufeff", ".", "。", "[", "#", "\n", " ", "\0"]
    ),
)
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.text(CHARACTERS, min_size=1, max_size=10).map(lambda text: text * LENGTHENED),
    st.sampled_from([*SENTENCES, "", " ", "\n\t", "\ud800", "[MASK] [SEP] [CLS] [PAD]", "\x00\x01", "##a ##b"]),
)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@pytest.fixture(scope="module")
def pipes():
    made = {task: make_pipe(task, builder()) for task, builder in BUILDERS.items()}
    made["stock text-classification"] = make_pipe("text-classification", stock("SequenceClassification", num_labels=3))
    return made


def call(pipe, inputs, **arguments):
    if pipe.task == "machine-translation" or type(pipe).__name__.startswith("Machine"):
        arguments |= {"max_new_tokens": 4, "num_beams": 2}
    return pipe(inputs, **arguments)


def alone(pipe, one):
    found = call(pipe, one)
    return (
        found[0] if type(pipe).__name__ in ("LongTextClassificationPipeline", "MachineTranslationPipeline") else found
    )


@pytest.mark.parametrize("task", [*BUILDERS, "stock text-classification"])
@FEW
@given(texts=st.lists(TEXTS, max_size=6), data=st.data())
def test_any_texts_are_answered_in_order_as_alone(task, pipes, texts, data):
    pipe = pipes[task]
    if task == "question-answering":
        # a question or context without a word is refused, as tested below
        texts = [
            {"question": data.draw(TEXTS)[:20] + "?", "context": text if text.strip() else "nothing"} for text in texts
        ]
    batch_size = data.draw(st.sampled_from([None, 1, 3]))
    found = call(pipe, texts, batch_size=batch_size)
    assert_same(found, [alone(pipe, one) for one in texts])
    assert_same(list(call(pipe, iter(texts), batch_size=batch_size)), found)


@pytest.mark.parametrize("task", ["token-classification", "replaced-token-detection"])
@FEW
@given(text=TEXTS)
def test_characters_are_those_of_the_text_given(task, pipes, text):
    ends = 0
    for found in pipes[task](text):
        assert 0 <= found["start"] < found["end"] <= len(text)
        assert found["start"] >= ends, "in order, without overlap"
        ends = found["end"] if task == "replaced-token-detection" else found["start"]
        if task == "replaced-token-detection":
            assert found["word"] == text[found["start"] : found["end"]]


@FEW
@given(context=TEXTS.filter(lambda text: text.strip()), top_k=st.integers(1, 5), impossible=st.booleans())
def test_answers_are_pieces_of_the_context_and_scores_probabilities(pipes, context, top_k, impossible):
    one = {"question": "Who?", "context": context}
    found = pipes["question-answering"](one, top_k=top_k, handle_impossible_answer=impossible)
    found = [found] if top_k == 1 else found
    assert 1 <= len(found) <= top_k
    for answer in found:
        assert answer["answer"] == context[answer["start"] : answer["end"]]
        assert 0 < answer["score"] <= 1
    assert sum(answer["score"] for answer in found) <= 1 + 1e-6


@pytest.mark.parametrize("wrong", [None, 5, 2.5, b"bytes", object(), {"text": 3}, {"txt": "a"}, {}])
@pytest.mark.parametrize("task", [*BUILDERS, "stock text-classification"])
def test_what_is_no_text_is_refused_in_one_line(task, pipes, wrong):
    for inputs in (wrong, [SENTENCES[0], wrong]):
        if task == "question-answering" and inputs is None:
            continue
        with pytest.raises((TypeError, ValueError)) as raised:
            result = call(pipes[task], inputs)
            list(result)
        assert "\n" not in str(raised.value) and "`" in str(raised.value) and len(str(raised.value)) < 300


@pytest.mark.parametrize("task", BUILDERS)
def test_nested_lists_are_refused(task, pipes):
    with pytest.raises((TypeError, ValueError), match="`"):
        call(pipes[task], [[SENTENCES[0], SENTENCES[1]]])
    assert call(pipes[task], []) == []


@pytest.mark.parametrize("task", ["text-classification", "replaced-token-detection", "token-classification"])
@pytest.mark.parametrize("kind", ["words", "one word", "no space", "white space", "surrogates"])
def test_a_megabyte_is_read(task, kind, pipes):
    text = {
        "words": "sea captain " * 20_000,  # fewer characters, since every token goes through the model
        "one word": "a" * 1_000_000,
        "no space": "喜欢" * 20_000,
        "white space": " \n" * 500_000,
        "surrogates": "\ud800 " * 20_000,
    }[kind]
    found = pipes[task](text)
    if task == "replaced-token-detection":
        words = "".join(one["word"] for one in found)
        assert words == ("" if kind == "surrogates" else "".join(text.split())), (
            "BERT's rules drop what is no character"
        )
    elif task == "text-classification":
        assert len(found) == 1 and 0 < found[0]["score"] <= 1


def test_the_end_of_a_long_context_competes_too(pipes):
    context = "The sea. " * 3000 + "Mr. Gray owns the mill."
    found = pipes["question-answering"]({"question": "Who owns the mill?", "context": context}, top_k=10**6)
    assert all(answer["answer"] == context[answer["start"] : answer["end"]] for answer in found)
    assert any(answer["end"] > len(context) - 24 for answer in found), "the end competes too"


@pytest.fixture
def said(caplog):
    logger = logging.getLogger("electra_plus")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_what_is_cut_on_request_is_said(pipes, said):
    long = " ".join(SENTENCES * 5)
    pipes["text-classification"](long)
    pipes["token-classification"](long)
    assert not said.text, "nothing is cut unasked"
    pipes["text-classification"](long, truncation=True)
    assert "was cut to 64 tokens" in said.text
    said.clear()
    pipes["token-classification"](long.split(), is_split_into_words=True)
    assert "tokens was cut to 64" in said.text


def test_a_pair_that_does_not_fit_is_refused(pipes):
    pair = {"text": SENTENCES[0], "text_pair": " ".join(SENTENCES * 5)}
    for name in ("text-classification", "stock text-classification"):
        with pytest.raises(ValueError, match="this model takes 64. Shorten it or pass `truncation=True`"):
            pipes[name](pair)
    assert pipes["text-classification"]({"text": "\ud800", "text_pair": ""})["score"] > 0


def test_questions_and_contexts_as_lists(pipes):
    pipe = pipes["question-answering"]
    questions = ["Who owns the mill?", "Who sings?"]
    together = pipe(question=questions, context=SENTENCES[3])
    assert_same(together, [pipe(question=one, context=SENTENCES[3]) for one in questions])
    assert_same(
        pipe(question=questions, context=list(SENTENCES[3:])),
        [pipe(question=one, context=other) for one, other in zip(questions, SENTENCES[3:], strict=True)],
    )
    with pytest.raises(ValueError, match="`question` and `context` must be of one length, got 2 and 3"):
        pipe(question=questions, context=list(SENTENCES[:3]))
    with pytest.raises(ValueError, match="Leave one of the two out"):
        pipe({"question": "a", "context": "b"}, question="c")


def test_a_question_longer_than_the_model_is_named(pipes):
    one = {"question": "Who owns the mill? " * 20, "context": SENTENCES[0]}
    with pytest.raises(ValueError, match="two more than `question`"):
        pipes["question-answering"](one)


def test_rows_longer_than_the_tokenizer_says_are_those_of_the_model():
    tokenizer = small_tokenizer()
    found = make_pipe("text-classification", build("SequenceClassification"), tokenizer, chunk_length=64)(
        " ".join(SENTENCES * 4)
    )
    assert len(found) == 1
    for wrong in ("64", 2.5):
        with pytest.raises(ValueError, match="`chunk_length` must be a number of tokens"):
            make_pipe("text-classification", build("SequenceClassification"))("a", chunk_length=wrong)
