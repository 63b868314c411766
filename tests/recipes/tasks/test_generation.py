"""Next words: blocks of running text, and continuations that do not depend on what else is asked."""

import torch
from model_helpers import small_config

from electra_plus import ElectraPlusForCausalLM
from electra_plus.recipes.tasks.generation import TextGeneration


def test_texts_are_cut_into_blocks_and_the_rest_is_said(words, examples):
    rows = examples({"text": "a cat sat"}, {"text": "the mat"})  # [CLS] a cat sat [SEP] [CLS] the mat [SEP]
    encoded = TextGeneration(max_length=4).encode(rows, words)
    assert encoded.rows == [{"input_ids": ids, "labels": ids} for ids in ([2, 5, 6, 7], [3, 2, 10, 11])]
    assert encoded.remarks == ["1 of 9 tokens at the end fill no block and are left out"]
    short = TextGeneration(max_length=64).encode(rows, words)  # less than a block is one
    assert len(short.rows) == 1 and short.remarks == []


def test_continuations_are_in_order_and_each_is_its_own(words, examples):
    torch.manual_seed(0)
    model = ElectraPlusForCausalLM(small_config("modern", vocab_size=len(words), is_decoder=True)).eval()
    task = TextGeneration(max_length=32, max_new_tokens=4)
    rows = examples({"text": "the cat sat"}, {"text": "a"}, {"text": "on the mat"})
    together = task.write(model, words, rows)
    assert together == [task.write(model, words, [row])[0] for row in rows]
    assert all(set(one) == {"prediction"} for one in together)
    drawn = TextGeneration(max_length=32, max_new_tokens=4, temperature=5.0, seed=1)
    before = torch.get_rng_state()
    assert drawn.write(model, words, rows) == drawn.write(model, words, rows) != together
    assert torch.equal(before, torch.get_rng_state())
