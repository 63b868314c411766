"""What only a GPU can show: the values are those of the processor, and a run goes on there as it was left."""

import copy

import pytest
import torch

from electra_plus import (
    DataCollatorForReplacedTokenDetection,
    ElectraPlusConfig,
    ElectraPlusForPreTraining,
    ElectraPlusModel,
    ElectraPlusTrainer,
    ElectraPlusTrainingArguments,
)
from electra_plus.data.tokenization import train_wordpiece_tokenizer

pytestmark = pytest.mark.gpu
WORDS = [f"word{number}" for number in range(150)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece_tokenizer([" ".join(WORDS)] * 9, vocab_size=200)


def joint(preset: str, tokenizer, **fields) -> ElectraPlusForPreTraining:
    torch.manual_seed(0)
    config = ElectraPlusConfig.preset(preset, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **fields)
    return ElectraPlusForPreTraining(config)


def rows(tokenizer, number: int, length: int = 24) -> list[list[int]]:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(10, len(tokenizer), (number, length), generator=rng).tolist()


WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.mark.parametrize("preset", ["tiny", "modern-tiny"])
@pytest.mark.parametrize("compiled", [False, True])
def test_losses_and_gradients_are_those_of_the_processor(preset, compiled, tokenizer):
    model = joint(preset, tokenizer, **WITHOUT_DROPOUT)
    batch = DataCollatorForReplacedTokenDetection(tokenizer, static_slots=True)(rows(tokenizer, 4))
    on_gpu = copy.deepcopy(model).cuda()
    run = torch.compile(on_gpu) if compiled else on_gpu
    # the draws differ, so what they decide is left out: the generator's part is the same whatever it draws
    there = run(
        **{name: v.cuda() if isinstance(v, torch.Tensor) else v for name, v in batch.items()}, networks="generator"
    )
    here = model(**batch, networks="generator")
    there.loss.backward()
    here.loss.backward()
    # float32 sums in another order, and products in TF32 where that is on
    torch.testing.assert_close(there.generator_loss.cpu(), here.generator_loss, rtol=1e-3, atol=1e-3)
    for name, parameter in on_gpu.generator.named_parameters():
        expected = model.generator.get_parameter(name).grad
        torch.testing.assert_close(
            parameter.grad.cpu(), expected, rtol=1e-2, atol=2e-3, msg=lambda text, n=name: f"{n}: {text}"
        )
    model.eval(), on_gpu.eval()
    ids = torch.tensor(rows(tokenizer, 4))
    torch.testing.assert_close(run(ids.cuda()).logits.cpu(), model(ids).logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("attention", ["sdpa", "flex_attention", "eager"])
@pytest.mark.parametrize("preset", ["tiny", "modern-tiny"])
def test_documents_in_a_row_are_kept_apart(preset, attention, tokenizer):
    torch.manual_seed(0)
    model = ElectraPlusModel(ElectraPlusConfig.preset(preset, vocab_size=len(tokenizer))).cuda().eval()
    model.set_attn_implementation(attention)
    (row,) = torch.tensor(rows(tokenizer, 1, 48))
    documents = torch.tensor([0] * 20 + [1] * 25 + [-1] * 3)
    with torch.no_grad():
        packed = model(row[None].cuda(), document_ids=documents[None].cuda()).last_hidden_state[0]
        for part in (slice(0, 20), slice(20, 45)):
            alone = model(row[None, part].cuda()).last_hidden_state[0]
            torch.testing.assert_close(packed[part], alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("optim", ["original", "muon", "adamw_torch_fused"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(optim, tokenizer, tmp_path):
    def trained(folder, steps, **training):
        arguments = ElectraPlusTrainingArguments(
            str(folder), max_steps=4, per_device_train_batch_size=4, optim=optim, bf16=True, save_steps=steps, logging_steps=2,
            report_to="none", disable_tqdm=True, learning_rate=1e-3, **training,
        )  # fmt: skip
        collator = DataCollatorForReplacedTokenDetection(tokenizer, static_slots=True)
        data = [{"input_ids": row} for row in rows(tokenizer, 64)]
        return ElectraPlusTrainer(joint("tiny", tokenizer), arguments, train_dataset=data, data_collator=collator)

    whole = trained(tmp_path / "whole", 2)
    whole.train()
    again = trained(tmp_path / "whole", 2)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert again.state.global_step == 4
    losses = [[entry["loss"] for entry in trainer.state.log_history if "loss" in entry] for trainer in (whole, again)]
    # sums of a device's threads come in any order
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=1e-3, atol=1e-3)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], weight, rtol=1e-2, atol=1e-3)


def test_graphs_of_the_compiler_train_through_the_trainer(tokenizer, tmp_path):
    arguments = ElectraPlusTrainingArguments(
        str(tmp_path), max_steps=30, per_device_train_batch_size=4, bf16=True, logging_steps=10, save_strategy="no",
        report_to="none", disable_tqdm=True, learning_rate=2e-3, torch_compile=True, torch_compile_mode="reduce-overhead",
    )  # fmt: skip
    collator = DataCollatorForReplacedTokenDetection(tokenizer, static_slots=True, pad_to_multiple_of=24)
    data = [{"input_ids": row} for row in rows(tokenizer, 8)] * 20
    trainer = ElectraPlusTrainer(joint("tiny", tokenizer), arguments, train_dataset=data, data_collator=collator)
    trainer.train()
    losses = [entry["generator_loss"] for entry in trainer.state.log_history if "generator_loss" in entry]
    assert len(losses) == 3 and losses[-1] < losses[0]
