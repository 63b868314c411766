"""Changed copies of examples: what changes, what stays, and that the seed decides alone."""

import random

import pytest
import torch

from electra_plus import ElectraPlusConfig, ElectraPlusForMaskedLM
from electra_plus.data.augmentation import (
    AUGMENTATIONS,
    MaskedLMSubstitution,
    augmented,
    delete_words,
    keep_sure,
    replace_by_list,
    swap_words,
    with_replaced,
    word_spans,
)

TEXT = "The cat sat on the mat, while the dog was sleeping under the table."
SYNONYMS = {"cat": ["kitten"], "dog": ["hound", "puppy"]}


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text)]


@pytest.fixture
def substitution(tokenizer):
    torch.manual_seed(0)
    config = ElectraPlusConfig.preset(
        "tiny", vocab_size=len(tokenizer), num_hidden_layers=2, hidden_size=32, embedding_size=32, intermediate_size=64,
        num_attention_heads=2, max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return MaskedLMSubstitution(ElectraPlusForMaskedLM(config), tokenizer)


def test_deletion_takes_the_words_asked_for_and_the_space_before_them():
    for seed in range(20):
        left = delete_words(TEXT, 0.3, random.Random(seed))
        assert len(words(left)) == 14 - 4 and "  " not in left and not left.startswith(" ")
        remaining = iter(words(TEXT))
        assert all(word in remaining for word in words(left)), "in their order"


def test_deletion_leaves_a_word():
    assert delete_words("Good!", 0.9, random.Random(0)) == "Good!"
    assert len(words(delete_words("one two three", 0.99, random.Random(0)))) == 1


def test_swapped_words_are_the_same_words_between_the_same_marks():
    for seed in range(20):
        swapped = swap_words(TEXT, 0.3, random.Random(seed))
        assert sorted(words(swapped)) == sorted(words(TEXT))
        assert with_replaced(swapped, word_spans(swapped), ["_"] * 14) == with_replaced(
            TEXT, word_spans(TEXT), ["_"] * 14
        )
    assert swap_words("one two", 0.1, random.Random(0)) == "two one"


def test_chinese_words_are_characters():
    assert sorted(swap_words("我很喜欢这本书。", 0.3, random.Random(1))) == sorted("我很喜欢这本书。")
    assert len(delete_words("我很喜欢这本书。", 0.3, random.Random(1))) == 8 - 2


def test_a_list_replaces_what_it_knows_and_keeps_capitals():
    found = {replace_by_list("Dog and CAT.", 0.9, random.Random(seed), SYNONYMS) for seed in range(20)}
    assert found == {"Hound and KITTEN.", "Puppy and KITTEN."}
    assert replace_by_list("Nothing known.", 0.9, random.Random(0), SYNONYMS) == "Nothing known."


@pytest.mark.parametrize("text", ["", "   ", "?!", "\ud800", "a", "😀😀"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_texts_without_words_stay_as_they_are(name, text):
    options = {"synonyms": SYNONYMS} if name == "synonyms" else {}
    assert AUGMENTATIONS[name]([text], 0.5, [random.Random(0)], **options) == [
        text.strip() if name == "delete" else text
    ]


def test_the_masked_lm_replaces_words_of_one_token_by_others_and_nothing_else(substitution, tokenizer):
    rngs = [random.Random(seed) for seed in range(8)]
    for text in substitution([TEXT] * 8, 0.3, rngs):
        before, after = words(TEXT), words(text)
        changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert len(changed) == 4
        for old, new in changed:
            assert tokenizer.tokenize(old) == [old.lower()] and tokenizer.tokenize(new) == [new.lower()]
        assert with_replaced(text, word_spans(text), before) == TEXT, "spaces and marks stay"


def test_a_list_that_backs_off_replaces_what_it_knows_and_lets_the_model_draw_the_rest(substitution, tokenizer):
    backing_off = MaskedLMSubstitution(
        substitution.model, tokenizer, synonyms={**SYNONYMS, "sleeping": ["quite asleep"]}
    )
    by_model = set()
    for text in backing_off([TEXT] * 8, 0.5, [random.Random(seed) for seed in range(8)]):
        after = words(text.replace("quite asleep", "quite-asleep"))
        changed = [(old, new) for old, new in zip(words(TEXT), after, strict=True) if old != new]
        assert len(changed) == 7
        for old, new in changed:
            if old in ("cat", "dog", "sleeping"):
                assert new in {"cat": ["kitten"], "dog": ["hound", "puppy"], "sleeping": ["quite-asleep"]}[old]
            else:
                by_model.add(new)
    assert len(by_model) > 5 and not by_model & {"kitten", "hound", "puppy"}
    assert substitution([TEXT], 0.3, [random.Random(3)]) == MaskedLMSubstitution(
        substitution.model, tokenizer, synonyms={"unknown": ["word"]}
    )([TEXT], 0.3, [random.Random(3)])


def test_what_is_drawn_for_a_text_does_not_depend_on_the_others(substitution):
    alone = substitution([TEXT], 0.3, [random.Random(3)])
    others = [random.Random(1), random.Random(3), random.Random(2)]
    assert substitution(["The mat.", TEXT, "A dog sat. " * 3], 0.3, others)[1:2] == alone


def test_a_long_text_keeps_what_the_model_cannot_read(substitution):
    long = " ".join([TEXT] * 20)
    (changed,) = substitution([long], 0.05, [random.Random(0)])
    assert changed != long and changed.endswith(" ".join([TEXT] * 14))


def test_likelier_words_are_drawn_at_a_lower_temperature(substitution, tokenizer):
    class LikesD(torch.nn.Module):
        config = substitution.model.config
        device = torch.device("cpu")

        def forward(self, input_ids, **_):
            logits = torch.zeros(*input_ids.shape, len(tokenizer))
            logits[..., tokenizer.convert_tokens_to_ids("d")] = 3.0
            return type("Outputs", (), {"logits": logits})

    cold = MaskedLMSubstitution(LikesD(), tokenizer, temperature=0.05)
    found = cold([TEXT] * 5, 0.2, [random.Random(seed) for seed in range(5)])
    changed = [(old, new) for text in found for old, new in zip(words(TEXT), words(text), strict=True) if old != new]
    assert {new.lower() for _, new in changed} == {"d"}
    assert len(changed) == 5 * 3


def test_copies_follow_from_the_seed_and_the_number_alone():
    examples = [{"text": TEXT, "label": "1"}, {"text": "Under the table.", "text_pair": "On the mat.", "label": "0"}]
    first = augmented(examples, "swap", copies=3, seed=5)
    assert first == augmented(examples, "swap", copies=3, seed=5) != augmented(examples, "swap", copies=3, seed=6)
    longer = augmented([*examples, {"text": "One more here.", "label": "1"}], "swap", copies=3, seed=5)
    assert longer[: len(first)] == first
    assert examples[0]["text"] == TEXT
    assert all(set(example) == {"text", "text_pair", "label"} for example in first if example["label"] == "0")


def test_a_copy_that_is_there_already_is_left_out():
    assert augmented([{"text": "Good!", "label": "1"}], "delete", copies=4) == []
    assert augmented([{"text": "one two", "label": "1"}], "swap", copies=4) == [{"text": "two one", "label": "1"}]


def test_only_copies_whose_label_is_found_again_stay():
    examples = [{"text": text, "label": "good"} for text in ("a", "b", "c")]
    kept = keep_sure(examples, lambda rows: [{"good": 0.9}, {"good": 0.7}, {"bad": 1.0}], threshold=0.7)
    assert [example["text"] for example in kept] == ["a", "b"]
    assert keep_sure([], lambda rows: 1 / 0) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"how": "shuffle"}, r"`how` must be one of \['delete', 'swap', 'synonyms'\]"),
        ({"rate": 0.0}, r"`rate` must be in \(0, 1\), got 0.0"),
        ({"copies": 0}, "`copies` must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        augmented([{"text": TEXT, "label": "1"}], **{"how": "swap", **wrong})


def test_wrong_thresholds_temperatures_and_tokenizers_are_told(substitution, tokenizer):
    with pytest.raises(ValueError, match=r"`threshold` must be in \[0, 1\]"):
        keep_sure([{"label": "1"}], lambda rows: [{}], threshold=1.5)
    with pytest.raises(ValueError, match="`temperature` must be > 0"):
        MaskedLMSubstitution(substitution.model, tokenizer, temperature=0.0)
