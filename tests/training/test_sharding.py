"""FSDP2 on two processes: losses and weights of one process, in every way to share, clip and resume."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from model_helpers import VOCAB_SIZE, small_config
from safetensors.torch import load_file
from trainer_helpers import losses, make_trainer
from transformers import BertConfig, BertForMaskedLM

from electra_plus import (
    ElectraPlusForMaskedLM,
    ElectraPlusForPreTraining,
    ElectraPlusForReplacedTokenDetection,
    ElectraPlusTrainingArguments,
)
from electra_plus.training.checkpoints import what_is_wrong
from electra_plus.training.sharding import refuse_what_fails


def bert_and_electra() -> ElectraPlusForPreTraining:
    """A BERT of one layer as generator, which shares its word table."""
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    generator = BertForMaskedLM(BertConfig(vocab_size=VOCAB_SIZE, **size))
    return ElectraPlusForPreTraining.from_generator_discriminator(
        generator, ElectraPlusForReplacedTokenDetection(small_config()), embedding_sharing="word"
    )


def masked_lm() -> ElectraPlusForMaskedLM:
    """A generator without a discriminator."""
    torch.manual_seed(0)
    return ElectraPlusForMaskedLM(small_config("modern", sparse_prediction=True))


ONE_PROCESS = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
TWO_PROCESSES = {"per_device_train_batch_size": 4, "ddp_backend": "gloo", "fsdp": True}
SAVING = {"save_strategy": "steps", "save_steps": 2}
CASES = {
    "all": {"model": {"embedding_sharing": "all"}},
    "word": {"model": {"embedding_sharing": "word"}},
    "none": {"model": {"embedding_sharing": "none"}},
    "gdes": {"model": {"embedding_sharing": "gdes"}},
    "untied head": {"model": {"embedding_sharing": "none", "generator": {"tie_word_embeddings": False}}},
    "apart": {"generator_max_grad_norm": 0.25, "max_grad_norm": 0.5, "generator_learning_rate": 4e-3},
    "layer by layer": {"layerwise_lr_decay": 0.5},
    "original": {"optim": "original", "lr_scheduler_type": "original", "warmup_steps": 0.25},
    "muon": {"optim": "muon"},
    "alternating": {"regime": "alternating"},
    "adversarial": {"regime": "adversarial"},
    "two_stage": {
        "regime": "two_stage",
        "regime_kwargs": {"copy_encoder": True},
        "model": {"embedding_sharing": "none", "generator": {"num_hidden_layers": 2, "hidden_dropout_prob": 0.1}},
    },
    "frozen_generator": {"regime": "frozen_generator", "model": {"embedding_sharing": "gdes"}},
    "objectives": {
        "model": {"objective_weights": {"multi_word_choice": 1.0, "corrective_lm": 1.0, "sequence_contrast": 1.0}}
    },
    "bert generator": {"make_model": bert_and_electra},
    "masked lm": {"make_model": masked_lm},
    "bfloat16": {"bf16": True},
    "recomputed": {"gradient_checkpointing": True},
    "by the launcher": {"fsdp": None},
    "evaluated": {"eval_strategy": "steps", "eval_steps": 1, "model": {"embedding_sharing": "gdes"}},
}
# what `accelerate launch` sets
LAUNCHER = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
            "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}  # fmt: skip
RESUMED = {
    "full": {},
    "sharded": {"fsdp_config": {"state_dict_type": "SHARDED_STATE_DICT"}},
    "gdes": {"model": {"embedding_sharing": "gdes"}, "generator_max_grad_norm": 0.25},
    "alternating": {"regime": "alternating", "save_steps": 1},
    "original": {"optim": "original"},
    "muon": {"optim": "muon"},
}


def started(output: Path, tokenizer, rows, make_model=None, **how):
    """A trainer of a case."""
    if make_model is not None:
        how["model"] = make_model()
    return make_trainer(output, tokenizer, rows, eval_rows=rows, **how)


SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from conftest import CORPUS
from electra_plus.data.corpus import pack_rows, read_documents
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.samples import sample_path
from test_sharding import CASES, LAUNCHER, RESUMED, SAVING, TWO_PROCESSES, started
from trainer_helpers import losses
output = Path(sys.argv[1])
tokenizer = train_wordpiece_tokenizer(CORPUS * 5, vocab_size=99, model_max_length=64)
documents = list(read_documents([sample_path("held_out_book.txt.gz")]))
rows = pack_rows([documents[0][:60]], tokenizer, row_length=32)

def run(name, how, resume=None):
    trainer = started(output / name, tokenizer, rows, **{**TWO_PROCESSES, **how})
    trainer.train(resume_from_checkpoint=resume)
    assert type(trainer.model).__name__.startswith("FSDP")
    trainer.save_model(str(output / name / "final"))
    if trainer.args.process_index == 0:
        (output / name / "losses.json").write_text(json.dumps(losses(trainer)))

for name, how in CASES.items():
    for variable, value in LAUNCHER.items():
        os.environ.pop(variable, None)
        if name == "by the launcher":
            os.environ[variable] = value
    run(name, how)
for name, how in RESUMED.items():
    run(f"whole {name}", {**SAVING, **how})
    if torch.distributed.get_rank() == 0:
        (output / f"resumed {name}").mkdir()
        (output / f"whole {name}" / "checkpoint-2").rename(output / f"resumed {name}" / "checkpoint-2")
    torch.distributed.barrier()
    run(f"resumed {name}", {**SAVING, **how}, resume=True)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
os._exit(0)  # gloo's threads may outlive the interpreter, which aborts then
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    """The folder where two processes have run all cases."""
    output = tmp_path_factory.mktemp("sharded")
    script = output / "run.py"
    script.write_text(SCRIPT)
    tests = Path(__file__).parent.parent
    paths = [str(tests), str(tests / "training"), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run = subprocess.run(
        [*command, str(script), str(output)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return output


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights as they were written, and those of the generator as it opens alone."""
    alone = ElectraPlusForMaskedLM.from_pretrained(folder).state_dict()
    return {**load_file(folder / "model.safetensors"), **{f"alone.{name}": weight for name, weight in alone.items()}}


@pytest.mark.multiprocess
@pytest.mark.parametrize("name", CASES)
def test_two_sharded_processes_are_one_that_accumulates(name, sharded, tmp_path, tokenizer, real_rows):
    whole = started(tmp_path, tokenizer, real_rows, **ONE_PROCESS, **CASES[name])
    whole.train()
    whole.save_model(str(tmp_path / "final"))
    # sums run in another order, in bfloat16 where Muon multiplies; autocast and bfloat16 weights are two ways to round
    tolerance, of_loss = {"muon": (5e-4, 1e-5), "bfloat16": (5e-3, 5e-3)}.get(name, (1e-4, 1e-5))
    assert json.loads((sharded / name / "losses.json").read_text()) == pytest.approx(losses(whole), rel=of_loss)
    ours, theirs = final_weights(sharded / name / "final"), final_weights(tmp_path / "final")
    assert ours.keys() == theirs.keys()
    for key, weight in theirs.items():
        torch.testing.assert_close(ours[key], weight, rtol=0, atol=tolerance, msg=key)


@pytest.mark.multiprocess
@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_sharded_run_is_the_uninterrupted_one(name, sharded):
    whole, resumed = sharded / f"whole {name}", sharded / f"resumed {name}"
    assert what_is_wrong(resumed / "checkpoint-4") is None
    assert json.loads((resumed / "losses.json").read_text()) == json.loads((whole / "losses.json").read_text())
    theirs = final_weights(whole / "final")
    for key, weight in final_weights(resumed / "final").items():
        assert torch.equal(weight, theirs[key]), key


@pytest.mark.parametrize(
    ("fsdp_config", "message"),
    [
        ({"version": 1}, "must be 2, got 1"),
        ({"activation_checkpointing": True}, "Use the argument `(activation|gradient)_checkpointing=True` itself"),
    ],
)
def test_what_would_train_something_else_is_refused(fsdp_config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        ElectraPlusTrainingArguments(str(tmp_path), use_cpu=True, fsdp=True, fsdp_config=fsdp_config)


def test_the_argument_that_is_advised_is_known_and_not_deprecated(tmp_path):
    with pytest.raises(ValueError) as refused:
        refuse_what_fails(2, activation_checkpointing=True)
    name = re.search(r"`(\w+)=True`", str(refused.value))[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        arguments = ElectraPlusTrainingArguments(str(tmp_path), use_cpu=True, **{name: True})
    assert arguments.gradient_checkpointing is True  # by both names where there are two
