"""Translation with encoder-decoders: beams, batches, long sources, and nothing cut without a word."""

import logging

import pytest
import transformers
from pipeline_helpers import LONG, SENTENCES, build, make_pipe, marian, small_tokenizer, translator

from electra_plus.pipelines.translation import joined, pieces_that_fit


@pytest.fixture(scope="module")
def model():
    return translator()


@pytest.fixture
def said(caplog):
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    ours = logging.getLogger("electra_plus")
    ours.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    ours.removeHandler(caplog.handler)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_translations_are_what_generate_gives(num_beams, model):
    pipe = make_pipe("translation", model)
    found = pipe(list(SENTENCES), num_beams=num_beams, max_new_tokens=9)
    for text, translation in zip(SENTENCES, found, strict=True):
        row = small_tokenizer()(text, return_tensors="pt", return_token_type_ids=False)
        ids = model.generate(**row, num_beams=num_beams, max_new_tokens=9)
        expected = small_tokenizer().decode(ids[0], skip_special_tokens=True).strip()
        assert translation == {"translation_text": expected}


def test_beams_and_lengths_have_sensible_defaults(model, monkeypatch):
    asked = []
    generate = model.generate

    def watched(**arguments):
        asked.append(arguments)
        return generate(**arguments)

    monkeypatch.setattr(model, "generate", watched)
    pipe = make_pipe("machine-translation", model)
    pipe(SENTENCES[0])
    pipe(SENTENCES[0], num_beams=1, max_new_tokens=3, num_return_sequences=1)
    assert asked[0]["num_beams"] == 4 and asked[0]["max_new_tokens"] == 32
    assert asked[1]["num_beams"] == 1 and asked[1]["max_new_tokens"] == 3


def test_batches_change_no_translation_and_keep_the_order(model):
    pipe = make_pipe("translation_en_to_zh", model)
    texts = [*SENTENCES, "", "a", SENTENCES[0] + " " + SENTENCES[1]]
    alone = [pipe(text, max_new_tokens=8)[0] for text in texts]
    assert pipe(texts, max_new_tokens=8) == alone == list(pipe(iter(texts), max_new_tokens=8))
    assert pipe(texts, max_new_tokens=8, batch_size=2) == alone
    assert alone[5] == {"translation_text": ""}
    assert len({one["translation_text"] for one in alone}) > 3


def test_a_source_that_does_not_fit_is_translated_in_pieces_and_said(model, said):
    pipe = make_pipe("translation", model)
    found = pipe(LONG, max_new_tokens=6)
    pieces = pieces_that_fit(LONG, lambda text: len(small_tokenizer()(text)["input_ids"]), 64)
    assert pieces == list(SENTENCES * 6)
    expected = [one["translation_text"] for one in pipe(pieces, max_new_tokens=6)]
    assert found == [{"translation_text": joined(expected)}]
    assert "is translated in 30 pieces" in said.text
    assert "cut off when they reached `max_new_tokens`" in said.text


def test_pieces_hold_all_of_a_text():
    def count(text):
        return len(text)

    text = "One two three. " + "x" * 50 + " y" * 40
    pieces = pieces_that_fit(text, count, 20)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(len(piece) <= 20 for piece in pieces)


def test_a_stock_sequence_to_sequence_model_translates(tmp_path):
    marian().save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    pipe = transformers.pipeline("machine-translation", str(tmp_path), device="cpu")
    found = pipe(list(SENTENCES), max_new_tokens=5)
    assert [len(one) for one in found] == [1] * len(SENTENCES)
    assert found == [pipe(text, max_new_tokens=5)[0] for text in SENTENCES]


def test_what_cannot_translate_is_refused(model):
    with pytest.raises(
        ValueError, match="`model` must be an encoder-decoder that generates, got ElectraPlusForCausalLM"
    ):
        make_pipe("translation", build("CausalLM", is_decoder=True))
    without_start = translator()
    without_start.generation_config.decoder_start_token_id = without_start.generation_config.bos_token_id = None
    with pytest.raises(ValueError, match="`model.generation_config.decoder_start_token_id` must be set"):
        make_pipe("translation", without_start)
    with pytest.raises(ValueError, match="`src_lang` is for tokenizers of several languages"):
        make_pipe("translation", model)("a", src_lang="en_XX")
