import pytest
from transformers import AutoTokenizer

from electra_plus.data.tokenization import SPECIAL_TOKENS, load_tokenizer, train_wordpiece_tokenizer

ENGLISH = ["The quick brown fox jumps over the lazy dog.", "Foxes and dogs are quick."] * 10
CHINESE = ["我很喜欢这本书。", "这本书很好看，我喜欢。"] * 10


def test_saved_folder_opens_with_autotokenizer(tmp_path):
    tokenizer = train_wordpiece_tokenizer(ENGLISH, vocab_size=120, model_max_length=64)
    tokenizer.save_pretrained(tmp_path)
    reopened = AutoTokenizer.from_pretrained(tmp_path)
    encoded = reopened("The quick FOX", "lazy dog")
    assert encoded == tokenizer("The quick FOX", "lazy dog")
    assert reopened.convert_ids_to_tokens(encoded["input_ids"][:2]) == ["[CLS]", "the"]
    assert set(encoded["token_type_ids"]) == {0, 1}
    assert reopened.model_max_length == 64
    assert reopened.decode(reopened("lazy dog")["input_ids"], skip_special_tokens=True) == "lazy dog"


def test_chinese_is_split_into_characters():
    tokenizer = train_wordpiece_tokenizer(CHINESE, vocab_size=60)
    assert tokenizer.tokenize("我很喜欢这本书") == list("我很喜欢这本书")


def test_both_languages_share_a_vocabulary():
    tokenizer = train_wordpiece_tokenizer(ENGLISH + CHINESE, vocab_size=200)
    assert "[UNK]" not in tokenizer.tokenize("我喜欢 the fox")


def test_vocabulary_has_the_size_asked_and_special_tokens_first():
    tokenizer = train_wordpiece_tokenizer(ENGLISH, vocab_size=80)
    assert len(tokenizer) == 80
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == list(SPECIAL_TOKENS)


def test_the_same_text_gives_the_same_vocabulary():
    # few words, so that most choices are ties; the trainer's own order changes from call to call
    texts = ["a cat sat on the mat", "我很喜欢这本书，故事好看。", "we walked along the river, and talked"] * 3
    vocabularies = [train_wordpiece_tokenizer(iter(texts), vocab_size=60).get_vocab() for _ in range(5)]
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)


def test_a_small_vocabulary_keeps_the_most_frequent_characters():
    tokenizer = train_wordpiece_tokenizer(["我我我很很喜"] * 3, vocab_size=8)
    assert tokenizer.tokenize("我很喜") == ["我", "很", "[UNK]"]


def test_cased_tokenizer_keeps_capitals():
    tokenizer = train_wordpiece_tokenizer(ENGLISH, vocab_size=150, lowercase=False)
    assert tokenizer.tokenize("The")[0] != tokenizer.tokenize("the")[0]


def test_plain_vocabulary_file_is_accepted(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text(
        "\n".join([*SPECIAL_TOKENS, "[unused0]", "<S>", "good", "book", "##s", "我"]) + "\n", encoding="utf-8"
    )
    tokenizer = load_tokenizer(file)
    assert tokenizer.tokenize("Good books 我") == ["good", "book", "##s", "我"]
    assert tokenizer.mask_token_id == 4
    tokenizer.save_pretrained(tmp_path / "folder")
    assert load_tokenizer(tmp_path / "folder").tokenize("good books") == ["good", "book", "##s"]


def test_vocabulary_with_capitals_is_taken_as_cased(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join([*SPECIAL_TOKENS, "Good", "good"]), encoding="utf-8")
    assert load_tokenizer(file).tokenize("Good good") == ["Good", "good"]


def test_folder_with_only_a_vocabulary_and_a_config_opens(tmp_path):
    from electra_plus import ElectraPlusConfig

    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "good", "book"]) + "\n", encoding="utf-8")
    ElectraPlusConfig(vocab_size=7).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).tokenize("good book") == ["good", "book"]


def test_file_that_is_no_vocabulary_is_refused(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("just\nwords\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no BERT vocabulary.*\[PAD\]"):
        load_tokenizer(file)


def test_empty_corpus_is_refused():
    with pytest.raises(ValueError, match="no words"):
        train_wordpiece_tokenizer([], vocab_size=50)
