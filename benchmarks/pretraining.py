"""
What does one optimizer step of joint pretraining cost, against the loop people write with stock transformers?

- `naive`: stock ElectraForMaskedLM and ElectraForPreTraining with shared embeddings, logits over the whole vocabulary in every
  slot, Gumbel noise over all of them, boolean indexing.
- `electra-pytorch`: the package of that name around the same stock networks, which masks for itself; left out if not installed.
- `electra_plus`: ElectraPlusForPreTraining with the paper's dropout; the step includes masking by our collator.
- `electra_plus, no dropout`, and both under `torch.compile`.
- `bfloat16`: matrix products in bfloat16 (autocast), which is what `electra-plus pretrain` does where the processor has
  instructions for it; the naive loop so as well.

All: ELECTRA-small and its generator, random token ids in rows without padding, float32 but for the last, clipping, fused AdamW. Rounds
are interleaved, so that a slow moment of the machine meets all; each arm's ratio is to the naive step of the same round.

    python benchmarks/pretraining.py --rounds 5
"""

import argparse
import importlib.util
import statistics
import time

import torch
import transformers
from machine import printed_by_fresh_process, save_result
from torch.profiler import profile

from electra_plus import DataCollatorForReplacedTokenDetection, ElectraPlusConfig, ElectraPlusForPreTraining

VOCAB_SIZE = 30522
MASK_TOKEN = 103


def make_batch(batch_size: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids with 15 % of the slots masked."""
    original = torch.randint(1000, VOCAB_SIZE, (batch_size, length))
    masked = torch.rand(original.shape) < 0.15
    return original.masked_fill(masked, MASK_TOKEN), original.masked_fill(~masked, -100)


class NaiveJoint(torch.nn.Module):
    """The usual loop: everything over the whole vocabulary."""

    def __init__(self):
        super().__init__()
        small = transformers.ElectraConfig()
        generator = transformers.ElectraConfig(hidden_size=64, num_attention_heads=1, intermediate_size=256)
        self.generator = transformers.ElectraForMaskedLM(generator)
        self.discriminator = transformers.ElectraForPreTraining(small)
        self.discriminator.electra.embeddings = self.generator.electra.embeddings

    def forward(self, input_ids, labels):
        masked = labels != -100
        logits = self.generator(input_ids).logits
        generator_loss = torch.nn.functional.cross_entropy(logits[masked], labels[masked])
        with torch.no_grad():
            uniform = torch.rand_like(logits)
            noise = -torch.log(-torch.log(uniform + 1e-9) + 1e-9)
            drawn = (torch.nn.functional.log_softmax(logits, dim=-1) + noise).argmax(dim=-1)
            corrupted = torch.where(masked, drawn, input_ids)
            original = torch.where(masked, labels, input_ids)
            replaced = (corrupted != original).float()
        detection = self.discriminator(corrupted).logits
        discriminator_loss = torch.nn.functional.binary_cross_entropy_with_logits(detection, replaced)
        return generator_loss + 50 * discriminator_loss


class ElectraPytorch(torch.nn.Module):
    """The package `electra-pytorch` around the same stock networks."""

    def __init__(self):
        super().__init__()
        from electra_pytorch import Electra

        naive = NaiveJoint()

        class Logits(torch.nn.Module):
            def __init__(self, network):
                super().__init__()
                self.network = network

            def forward(self, input_ids):
                return self.network(input_ids).logits

        self.joint = Electra(
            Logits(naive.generator),
            Logits(naive.discriminator),
            num_tokens=VOCAB_SIZE,
            mask_token_id=MASK_TOKEN,
            pad_token_id=0,
            mask_ignore_token_ids=[101, 102],
        )

    def forward(self, input_ids, labels):
        return self.joint(torch.where(labels != -100, labels, input_ids)).loss


def tokenizer_of_ids() -> transformers.BertTokenizer:
    """A vocabulary of the right size for ids that stand for no text."""
    vocabulary = [*(f"[unused{number}]" for number in range(VOCAB_SIZE))]
    vocabulary[0], vocabulary[100], vocabulary[101:104] = "[PAD]", "[UNK]", ("[CLS]", "[SEP]", "[MASK]")
    return transformers.BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)})


class MaskedByCollator(torch.nn.Module):
    """Our model, on rows that our collator masks anew in each step."""

    def __init__(self, compiled: bool, **fields):
        super().__init__()
        # a compiled step wants one shape
        self.collator = DataCollatorForReplacedTokenDetection(tokenizer_of_ids(), static_slots=compiled)
        self.model = ElectraPlusForPreTraining(ElectraPlusConfig.preset("small", **fields))
        self.step = torch.compile(self.model) if compiled else self.model

    def forward(self, input_ids, labels):
        rows = torch.where(labels != -100, labels, input_ids).tolist()
        return self.step(**self.collator(rows)).loss


WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BFLOAT16 = ", bfloat16"  # ends the name of an arm that computes so
ARMS = {
    "naive": NaiveJoint,
    "electra-pytorch": ElectraPytorch,
    "electra_plus": lambda: MaskedByCollator(compiled=False),
    "electra_plus, no dropout": lambda: MaskedByCollator(compiled=False, **WITHOUT_DROPOUT),
    "electra_plus, compiled": lambda: MaskedByCollator(compiled=True),
    "electra_plus, no dropout, compiled": lambda: MaskedByCollator(compiled=True, **WITHOUT_DROPOUT),
    "naive" + BFLOAT16: NaiveJoint,
    "electra_plus" + BFLOAT16: lambda: MaskedByCollator(compiled=False),
    "electra_plus, no dropout" + BFLOAT16: lambda: MaskedByCollator(compiled=False, **WITHOUT_DROPOUT),
}


def make_step(kind: str, batch_size: int, length: int):
    """Return a function that makes one optimizer step and says how long it took, in seconds."""
    torch.manual_seed(0)
    model = ARMS[kind]().train()
    # all get the fused optimizer, which the stock Trainer takes too: the difference is the model's
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    input_ids, labels = make_batch(batch_size, length)

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind.endswith(BFLOAT16)):
            loss = model(input_ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - started

    return step


def where_time_goes(kind: str, batch_size: int, length: int) -> list[dict]:
    """Return the operators of a step that take most time of their own, with their share of all."""
    step = make_step(kind, batch_size, length)
    step()
    with profile() as profiled:
        step()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        {"operator": event.key, "share": event.self_cpu_time_total / total, "calls": event.count}
        for event in events[:20]
    ]


def peak_memory(kind: str, batch_size: int, length: int) -> int:
    """Growth of the resident set's peak over two steps in a fresh process, in bytes (Linux)."""
    code = f"""
import pretraining
from machine import peak_resident_bytes
before = peak_resident_bytes()
step = pretraining.make_step({kind!r}, {batch_size}, {length})
step(), step()
print(peak_resident_bytes() - before)
"""
    return printed_by_fresh_process(code)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="rows (default: %(default)s)")
    parser.add_argument("--length", type=int, default=128, help="tokens in a row (default: %(default)s)")
    options = parser.parse_args()
    shape = (options.batch_size, options.length)
    kinds = [kind for kind in ARMS if kind != "electra-pytorch" or importlib.util.find_spec("electra_pytorch")]
    steps = {kind: make_step(kind, *shape) for kind in kinds}
    for step in steps.values():
        step()  # warm-up: optimizer states, allocator, compiler
        step()
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, step in steps.items():
            seconds[kind].append(step())
    ratios = {
        kind: [naive / ours for naive, ours in zip(seconds["naive"], seconds[kind], strict=True)] for kind in kinds
    }
    tokens = options.batch_size * options.length
    in_memory = [kind for kind in kinds if not kind.endswith("compiled")]  # a compiler's own memory is another matter
    result = {
        "rows": options.batch_size,
        "tokens_per_row": options.length,
        "rounds": options.rounds,
        "seconds": seconds,
        "speed_ratio": ratios,
        "resident_growth_bytes": {kind: peak_memory(kind, *shape) for kind in in_memory},
        "profile": where_time_goes("electra_plus", *shape),
        "profile_bfloat16": where_time_goes("electra_plus" + BFLOAT16, *shape),
    }
    for kind in kinds:
        median = statistics.median(seconds[kind])
        memory = result["resident_growth_bytes"].get(kind)
        grown = f"{memory / 2**30:5.2f} GiB" if memory else ""
        print(
            f"{kind:<36} {median:6.3f} s a step  {tokens / median:6.0f} tokens/s  "
            f"{statistics.median(ratios[kind]):.2f} times naive ({min(ratios[kind]):.2f} to {max(ratios[kind]):.2f}) {grown}"
        )
    print(save_result("pretraining", result))


if __name__ == "__main__":
    main()
