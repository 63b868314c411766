"""
What does one optimizer step of joint pretraining cost, against the loop people write with stock transformers?

Naive: stock ElectraForMaskedLM and ElectraForPreTraining with shared embeddings, logits over the whole vocabulary in every
slot, Gumbel noise over all of them, boolean indexing, two AdamW states in one optimizer. Ours: ElectraPlusForPreTraining.
Both: ELECTRA-small and its generator, random token ids, float32, AdamW. Rounds are interleaved, so that a slow moment of
the machine meets both.

    python benchmarks/pretraining_step.py --rounds 5
"""

import argparse
import statistics
import time

import torch
import transformers
from machine import printed_by_fresh_process, save_result

from electra_plus import ElectraPlusConfig, ElectraPlusForPreTraining

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


def ours() -> torch.nn.Module:
    """The joint model as it comes."""
    return ElectraPlusForPreTraining(ElectraPlusConfig.preset("small"))


def make_step(kind: str, batch_size: int, length: int):
    """Return a function that makes one optimizer step."""
    torch.manual_seed(0)
    model = (NaiveJoint() if kind == "naive" else ours()).train()
    # both get the fused optimizer, which the stock Trainer takes too: the difference is the model's
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    input_ids, labels = make_batch(batch_size, length)

    def step() -> float:
        started = time.perf_counter()
        loss = model(input_ids, labels=labels)
        (loss if torch.is_tensor(loss) else loss.loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - started

    return step


def peak_memory(kind: str, batch_size: int, length: int) -> int:
    """Growth of the resident set's peak over two steps in a fresh process, in bytes (Linux)."""
    code = f"""
import pretraining_step
from machine import peak_resident_bytes
before = peak_resident_bytes()
step = pretraining_step.make_step({kind!r}, {batch_size}, {length})
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
    kinds = ("naive", "electra_plus")
    steps = {kind: make_step(kind, options.batch_size, options.length) for kind in kinds}
    for step in steps.values():
        step()  # warm-up: optimizer states, allocator
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, step in steps.items():
            seconds[kind].append(step())
    ratios = [ours / naive for naive, ours in zip(*seconds.values(), strict=True)]
    tokens = options.batch_size * options.length
    result = {
        "rows": options.batch_size,
        "tokens_per_row": options.length,
        "rounds": options.rounds,
        "seconds": seconds,
        "ratio_median": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "resident_growth_bytes": {kind: peak_memory(kind, options.batch_size, options.length) for kind in kinds},
    }
    for kind in kinds:
        median = statistics.median(seconds[kind])
        memory = result["resident_growth_bytes"][kind] / 2**30
        print(f"{kind:<14} {median:6.3f} s a step  {tokens / median:8.0f} tokens/s  {memory:5.2f} GiB")
    print(f"ratio {result['ratio_median']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(save_result("pretraining_step", result))


if __name__ == "__main__":
    main()
