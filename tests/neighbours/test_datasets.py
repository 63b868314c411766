"""Streams of `datasets` through the tokenizer into our collators and either trainer."""

import json

import pytest
from datasets import Dataset, load_dataset
from head_helpers import make_model
from trainer_helpers import STOCK_ARGUMENTS, losses, make_trainer, weights
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

import electra_plus

pytestmark = pytest.mark.slow

TEXTS = [f"the cat sat on the mat {'and the dog slept ' * (number % 4)}" for number in range(48)]


@pytest.fixture
def files(tmp_path):
    for number in range(2):
        rows = [{"text": text, "label": index % 2} for index, text in enumerate(TEXTS) if index % 2 == number]
        path = tmp_path / f"part-{number}.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(tmp_path / "part-*.jsonl")


def streamed(files, tokenizer, **arguments):
    stream = load_dataset("json", data_files=files, split="train", streaming=True)
    return stream.map(lambda row: tokenizer(row["text"]), remove_columns=["text"], **arguments)


def without_labels(files, tokenizer):
    return streamed(files, tokenizer).remove_columns("label")


def test_pretraining_on_a_stream_gives_the_losses_of_its_rows(files, tokenizer, tmp_path):
    stream = make_trainer(tmp_path / "stream", tokenizer, without_labels(files, tokenizer))
    stream.train()
    rows = Dataset.from_list(list(without_labels(files, tokenizer))).to_iterable_dataset()
    whole = make_trainer(tmp_path / "rows", tokenizer, rows)
    whole.train()
    assert losses(stream) == losses(whole) and len(losses(stream)) == 4


def test_pretraining_on_a_shuffled_stream_goes_on_exactly_where_it_was_stopped(files, tokenizer, tmp_path):
    def trainer(folder):
        rows = without_labels(files, tokenizer).shuffle(seed=5, buffer_size=10)
        return make_trainer(tmp_path / folder, tokenizer, rows, save_strategy="steps", save_steps=2)

    whole, stopped = trainer("whole"), trainer("run")
    whole.train()
    stopped.train()
    (tmp_path / "run" / "checkpoint-4").rename(tmp_path / "later")
    resumed = trainer("run")
    resumed.train(resume_from_checkpoint=True)
    assert losses(resumed) == losses(whole)
    assert all((weights(resumed)[name] == tensor).all() for name, tensor in weights(whole).items())


@pytest.mark.parametrize("collator", ["padding", "packing"])
@pytest.mark.parametrize("trainer", ["ours", "stock"])
def test_fine_tuning_on_a_stream(trainer, collator, files, tokenizer, tmp_path):
    model = make_model("ElectraPlusForSequenceClassification", "modern").train()
    kinds = {
        "ours": (electra_plus.ElectraPlusTrainer, electra_plus.ElectraPlusTrainingArguments),
        "stock": (Trainer, TrainingArguments),
    }
    trainer_class, arguments_class = kinds[trainer]
    collators = {
        "padding": DataCollatorWithPadding(tokenizer),
        "packing": electra_plus.DataCollatorForPacking(tokenizer, row_length=64),
    }
    rows = streamed(files, tokenizer).rename_column("label", "labels").shuffle(seed=1, buffer_size=48)
    arguments = {**STOCK_ARGUMENTS, "max_steps": 24, "learning_rate": 5e-3}
    if collator == "packing":
        # else accelerate cuts each batch of a stream to as many labels as it has rows
        arguments["accelerator_config"] = {"dispatch_batches": False}
    trained = trainer_class(
        model=model,
        args=arguments_class(str(tmp_path), **arguments),
        train_dataset=rows,
        eval_dataset=rows.take(8),
        data_collator=collators[collator],
        processing_class=tokenizer,
    )
    trained.train()
    found = losses(trained)
    assert len(found) == 24 and sum(found[-6:]) < 0.9 * sum(found[:6])
    assert trained.evaluate()["eval_loss"] > 0
