"""Replaced token detection as a pipeline: words, characters, chunks, every kind of checkpoint."""

import pytest
import torch
import transformers
from pipeline_helpers import LONG, SENTENCES, assert_same, build, make_pipe, small_tokenizer, stock

import electra_plus
from electra_plus.data.chunking import Chunk
from electra_plus.pipelines.replaced_tokens import tokens_furthest_inside

TEXT = "Nobody lies about the captain, 我很喜欢 unknownword!"


def expected_words(model, text: str) -> list[dict]:
    encoded = small_tokenizer()(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        scores = model(**encoded).logits[0].sigmoid().tolist()
    words: dict[int, list[tuple[float, int, int]]] = {}
    for score, (start, end), word in zip(scores, offsets, encoded.word_ids(), strict=True):
        if word is not None:
            words.setdefault(word, []).append((score, start, end))
    return [
        {"word": text[parts[0][1] : parts[-1][2]], "score": max(parts)[0], "start": parts[0][1], "end": parts[-1][2]}
        for parts in words.values()
    ]


@pytest.mark.parametrize("kind", ["discriminator", "joint", "stock"])
def test_each_word_has_the_probability_of_its_likeliest_token(kind):
    model = {
        "discriminator": lambda: build("ReplacedTokenDetection"),
        "joint": lambda: build("PreTraining", flavour="classic"),
        "stock": lambda: stock("PreTraining"),
    }[kind]()
    found = make_pipe("replaced-token-detection", model)(TEXT)
    assert_same(found, expected_words(model, TEXT))
    assert [one["word"] for one in found][-3:] == ["欢", "unknownword", "!"]
    assert len({one["score"] for one in found}) > 3


@pytest.mark.parametrize("kind", ["discriminator", "joint", "stock"])
def test_a_folder_of_any_detector_opens(kind, tmp_path, caplog):
    model = {
        "discriminator": lambda: build("ReplacedTokenDetection"),
        "joint": lambda: build("PreTraining"),
        "stock": lambda: stock("PreTraining"),
    }[kind]()
    expected = make_pipe("replaced-token-detection", model)(TEXT)
    model.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    pipe = transformers.pipeline("replaced-token-detection", str(tmp_path), device="cpu")
    assert_same(pipe(TEXT), expected)
    assert isinstance(pipe.model, transformers.ElectraForPreTraining) == (kind == "stock")
    pipe.save_pretrained(tmp_path / "again")
    again = transformers.pipeline("replaced-token-detection", str(tmp_path / "again"), device="cpu")
    assert_same(again(TEXT), expected)


def test_only_words_above_the_threshold():
    pipe = make_pipe("replaced-token-detection", build("ReplacedTokenDetection"))
    every = pipe(TEXT)
    threshold = sorted(one["score"] for one in every)[len(every) // 2]
    assert_same(pipe(TEXT, threshold=threshold), [one for one in every if one["score"] >= threshold])
    assert pipe("", threshold=0.5) == []
    for wrong in (-0.1, 1.5, "high"):
        with pytest.raises(ValueError, match="`threshold` must be a probability"):
            pipe(TEXT, threshold=wrong)


def test_a_long_text_is_judged_to_its_end_each_word_once():
    pipe = make_pipe("replaced-token-detection", build("ReplacedTokenDetection"))
    found = pipe(LONG, chunk_length=40, overlap=20)
    assert [one["word"] for one in found] == [LONG[one["start"] : one["end"]] for one in found]
    assert "".join(one["word"] for one in found) == "".join(LONG.split())
    starts = [one["start"] for one in found]
    assert starts == sorted(set(starts))


def test_where_chunks_overlap_the_inner_token_counts():
    chunks = [Chunk([0] * 6, [], range(1, 5), 0), Chunk([0] * 6, [], range(1, 5), 2)]
    values = [torch.tensor([9.0, 0, 1, 2, 3, 9]), torch.tensor([9.0, 20, 30, 40, 50, 9])]
    found = tokens_furthest_inside(list(zip(chunks, values, strict=True)), 6)
    # tokens 2 and 3 are in both: 2 lies one inside the first chunk, 3 one inside the second
    assert found.tolist() == [0, 1, 2, 30, 40, 50]


def test_transformers_knows_our_tasks_without_our_pipeline_being_asked():
    tasks = transformers.pipelines.PIPELINE_REGISTRY.get_supported_tasks()
    ours = {"replaced-token-detection", "extractive-qa", "machine-translation", "long-text-classification"}
    assert ours <= set(tasks)
    pipe = transformers.pipeline(
        "long-text-classification", build("SequenceClassification"), tokenizer=small_tokenizer(), device="cpu"
    )
    assert type(pipe) is electra_plus.pipelines.LongTextClassificationPipeline
    assert_same(pipe(list(SENTENCES)), make_pipe("sentiment-analysis", pipe.model)(list(SENTENCES)))
