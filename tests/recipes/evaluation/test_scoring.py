"""Scores of sentences equal the plain one-by-one computation, for every kind of network and batch."""

import math

import pytest
import torch
import transformers
from model_helpers import VOCAB_SIZE, small_config
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from electra_plus import ElectraPlusForCausalLM, ElectraPlusForMaskedLM, ElectraPlusForReplacedTokenDetection
from electra_plus.models.corruption_electra_plus import logits_at_slots
from electra_plus.recipes.evaluation.scoring import (
    detector_scores,
    encode_sentences,
    log_likelihoods,
    pseudo_log_likelihoods,
)

SENTENCES = [
    "the cat sat on the mat",
    "this phone is terrible",
    "I really love this book, it is a great and moving story",
    "love",
    "the cat sat on the mat",
]
MASK = 4


@pytest.fixture
def rows(tokenizer):
    return encode_sentences(tokenizer, small_config(), SENTENCES)


def spread(model):
    """Make a random model's scores differ visibly from token to token."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval()


def tiny_bert():
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=VOCAB_SIZE, **sizes))


MASKED_LMS = [
    pytest.param(lambda: ElectraPlusForMaskedLM(small_config("classic")), id="classic"),
    pytest.param(lambda: ElectraPlusForMaskedLM(small_config("modern", sparse_prediction=True)), id="modern"),
    pytest.param(tiny_bert, id="bert"),
]


@torch.no_grad()
def plain_pseudo_log_likelihood(model, row) -> float:
    """Mask one token at a time, one forward pass each, all logits."""
    ids, places = row
    total = 0.0
    for place in places:
        masked = torch.tensor([ids])
        masked[0, place] = MASK
        total += model(masked).logits[0, place].log_softmax(-1)[ids[place]].item()
    return total


@pytest.mark.parametrize("build", MASKED_LMS)
def test_pseudo_log_likelihood_equals_one_token_at_a_time(build, rows):
    model = spread(build())
    expected = [plain_pseudo_log_likelihood(model, row) for row in rows]
    # 1e-5: float32 sums of other batch shapes
    assert pseudo_log_likelihoods(model, MASK, rows) == pytest.approx(expected, rel=1e-5)
    assert pseudo_log_likelihoods(model, MASK, rows, batch_tokens=1) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("build", MASKED_LMS)
def test_logits_at_slots_are_those_of_the_whole_batch(build):
    model = spread(build())
    input_ids = torch.arange(5, 27).view(2, 11)
    with torch.no_grad():
        chosen = logits_at_slots(model, input_ids, torch.tensor([1, 21, 13]))
        assert torch.allclose(chosen, model(input_ids).logits.flatten(0, 1)[[1, 21, 13]], atol=1e-5)
        # the hook is gone
        assert model(input_ids).logits.shape == (2, 11, VOCAB_SIZE)


def test_detector_sums_log_probability_of_original_over_own_tokens(token_table):
    logits = torch.arange(10) - 4.0
    rows = [((2, 7, 9, 3), (1, 2)), ((2, 5, 3), (1,))]
    expected = [-math.log(1 + math.exp(3)) - math.log(1 + math.exp(5)), -math.log(1 + math.exp(1))]
    assert detector_scores(token_table(logits), rows) == pytest.approx(expected)


def test_detector_scores_do_not_depend_on_the_batch(rows):
    model = spread(ElectraPlusForReplacedTokenDetection(small_config("modern")))
    with torch.no_grad():
        expected = [
            torch.nn.functional.logsigmoid(-model(torch.tensor([ids])).logits[0, list(places)]).sum().item()
            for ids, places in rows
        ]
    for batch_tokens in (1, 20, 8192):
        assert detector_scores(model, rows, batch_tokens) == pytest.approx(expected, rel=1e-5)


def test_causal_score_is_the_sum_of_next_token_log_probabilities(rows):
    model = spread(ElectraPlusForCausalLM(small_config("modern", is_decoder=True)))
    expected = []
    for ids, places in rows:
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected.append(sum(scores[place - 1, ids[place]].item() for place in places))
    for batch_tokens in (1, 8192):
        assert log_likelihoods(model, rows, batch_tokens) == pytest.approx(expected, rel=1e-5)


def test_first_token_without_a_start_token_counts_nothing():
    model = spread(ElectraPlusForCausalLM(small_config("modern", is_decoder=True)))
    ids = (7, 8, 9)
    with torch.no_grad():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = scores[0, 8].item() + scores[1, 9].item()
    assert log_likelihoods(model, [(ids, (0, 1, 2))]) == pytest.approx([expected], rel=1e-5)


def test_equal_rows_score_the_same_to_the_last_bit(rows):
    model = spread(ElectraPlusForMaskedLM(small_config("modern")))
    scores = pseudo_log_likelihoods(model, MASK, rows, batch_tokens=30)
    assert scores[0] == scores[4]


def test_special_tokens_are_left_out_and_unknown_words_are_not(tokenizer):
    ((ids, places),) = encode_sentences(tokenizer, small_config(), ["the ☃ cat"])
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert places == tuple(range(1, len(ids) - 1)) and ids[places[1]] == tokenizer.unk_token_id


def test_start_token_is_put_before_a_text_that_lacks_one():
    backend = Tokenizer(WordLevel({"[UNK]": 0, "<s>": 1, "cat": 2, "mat": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", bos_token="<s>")
    assert encode_sentences(plain, small_config(), ["cat mat"]) == [((2, 3), (0, 1))]
    assert encode_sentences(plain, small_config(), ["cat mat"], needs_start=True) == [((1, 2, 3), (1, 2))]


@pytest.mark.parametrize(
    ("sentence", "message"), [(" ", "has no tokens"), ("a " * 63, "has 65 tokens, the model reads 64")]
)
def test_sentence_that_cannot_be_scored_whole_is_refused(sentence, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        encode_sentences(tokenizer, small_config(), [sentence])
