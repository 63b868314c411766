import pytest
import transformers
from tokenizers import Tokenizer
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


# Sentences, and what a lower-casing tokenizer makes of the words: nothing else than small letters where marks are letters.
MARKED = {
    "Hindi": ("मुझे यह किताब पसंद है। मैं पढ़ता हूँ BBC", ["मुझे", "यह", "किताब", "पसंद", "है", "।", "मैं", "पढ़ता", "हूँ", "bbc"]),
    "Thai": ("ผมชอบ แมวตัวนี้ ที่บ้าน OK", ["ผมชอบ", "แมวตัวนี้", "ที่บ้าน", "ok"]),
    "Japanese": ("ガギグ が 学校で、ぱぴぷ", ["ガギグ", "が", "学", "校", "で", "、", "ぱぴぷ"]),
    "Japanese, decomposed": ("か\u3099 は\u309a", ["か\u3099", "は\u309a"]),
    "Korean": ("나는 이 책을 좋아한다.", ["나는", "이", "책을", "좋아한다", "."]),
    "Arabic": ("قرأ الطالبُ الكتابَ", ["قرأ", "الطالبُ", "الكتابَ"]),
    "Hebrew": ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
}
STRIPPED = {
    "Vietnamese": ("Tôi thích quyển sách này, đúng.", ["toi", "thich", "quyen", "sach", "nay", ",", "đung", "."]),
    "French": ("L'élève Noël garçon", ["l", "'", "eleve", "noel", "garcon"]),
    "German": ("Schöne Grüße, Straße", ["schone", "gruße", ",", "straße"]),
    "Russian": ("Мой ёж", ["мои", "еж"]),
    "Chinese": ("我喜欢ABC，café 一些。", ["我", "喜", "欢", "abc", "，", "cafe", "一", "些", "。"]),
    "emoji": ("I ❤️ it", ["i", "❤", "it"]),
}


def whole_words(tokenizer, text: str) -> list[str]:
    """Tokens with what continues a word joined to it."""
    words: list[str] = []
    for token in tokenizer.tokenize(text):
        if token.startswith("##"):
            words[-1] += token[2:]
        else:
            words.append(token)
    return words


@pytest.mark.parametrize("language", [*MARKED, *STRIPPED])
def test_lower_casing_leaves_every_script_its_letters(language, tmp_path, caplog):
    text, words = {**MARKED, **STRIPPED}[language]
    tokenizer = train_wordpiece_tokenizer([text] * 5, vocab_size=300)
    assert whole_words(tokenizer, text) == words
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids).replace(" ", "") == "".join(words)
    assert ("lower-cases and keeps accents" in caplog.text) == (language in MARKED)
    # a plain tokenizer: another library builds it from what is saved
    assert type(tokenizer) is transformers.BertTokenizer
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(text, add_special_tokens=False)["input_ids"] == ids
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text, add_special_tokens=False).ids == ids


@pytest.mark.parametrize(("hindi_words", "kept"), [(0, False), (1, False), (40, True)])
def test_a_quotation_in_another_script_changes_nothing(hindi_words, kept):
    texts = ["the café is open, and the cook is in"] * 200 + ["मुझे"] * hindi_words
    tokenizer = train_wordpiece_tokenizer(texts, vocab_size=300)
    assert whole_words(tokenizer, "café") == ["café" if kept else "cafe"]


def test_a_cased_tokenizer_keeps_marks_without_saying_so(caplog):
    tokenizer = train_wordpiece_tokenizer(["मुझे École"] * 5, vocab_size=60, lowercase=False)
    assert whole_words(tokenizer, "मुझे École") == ["मुझे", "École"]
    assert caplog.text == ""


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
