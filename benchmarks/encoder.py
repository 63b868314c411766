"""
How fast is the encoder, beside stock ELECTRA of the same size and a stock ModernBERT of the same width and depth?

Three questions, each with its own interleaved rounds, all in float32 with random weights and tokens:

- `long`: modern-small forward, 16 rows of 512 tokens and 1 row of 8,192; time, and growth of memory in a fresh process.
- `packed`: both sizes, 128 real sentences, forward and backward, packed into rows against padded to the longest.
- `classic`: small, 16 rows of 128 tokens, forward, and forward with backward; without dropout, so that outputs are equal;
  each also under `torch.compile`, which needs a C++ compiler. There is little to win: with backward, matrix products near
  the processor's peak are three quarters of the time. Tried in the model, in interleaved rounds on one thread, as a
  multiple of stock's speed forward and with backward: one product for query, key and value 1.06 and 0.97; the residual
  added by the product that closes a block 1.02 and 0.98; both 1.04 and 0.99; as it is 1.00 and 1.00.

    python benchmarks/encoder.py --sentences sst2/train.jsonl
    python benchmarks/encoder.py --only classic --rounds 9
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from machine import RESULTS, printed_by_fresh_process, save_result

from electra_plus import ElectraPlusConfig, ElectraPlusModel
from electra_plus.data.examples import read_examples
from electra_plus.data.packing import DataCollatorForPacking
from electra_plus.data.tokenization import train_wordpiece_tokenizer
from electra_plus.samples import sample_path

VOCAB_SIZE = 30522
SHAPES = {"16 x 512": (16, 512), "1 x 8192": (1, 8192)}


def modern_small() -> torch.nn.Module:
    """Ours."""
    return ElectraPlusModel(ElectraPlusConfig.preset("modern-small", vocab_size=VOCAB_SIZE, generator_config=None))


def modernbert() -> torch.nn.Module:
    """Return the peer: as wide, as deep, with an MLP as large, heads of the same size, the same windows."""
    ours = ElectraPlusConfig.preset("modern-small")
    config = transformers.ModernBertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        num_hidden_layers=ours.num_hidden_layers,
        num_attention_heads=ours.num_attention_heads,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    return transformers.ModernBertModel(config)


def classic_pair() -> dict[str, torch.nn.Module]:
    """Stock ELECTRA-small and ours with the same weights."""
    stock = transformers.ElectraModel(transformers.ElectraConfig())
    ours = ElectraPlusModel(ElectraPlusConfig.preset("small", generator_config=None))
    ours.load_state_dict(stock.state_dict(), strict=True)
    return {"stock": stock, "electra_plus": ours}


MODELS = {"electra_plus": modern_small, "modernbert": modernbert}


def forward(model: torch.nn.Module, input_ids: torch.Tensor) -> float:
    """Seconds of a forward pass."""
    started = time.perf_counter()
    with torch.no_grad():
        model(input_ids)
    return time.perf_counter() - started


def forward_backward(model: torch.nn.Module, input_ids: torch.Tensor) -> float:
    """Seconds of a forward and a backward pass."""
    started = time.perf_counter()
    model(input_ids).last_hidden_state.square().mean().backward()
    seconds = time.perf_counter() - started
    model.zero_grad()
    return seconds


def interleaved(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each run in turn, `rounds` times after one call that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            taken = run()
            if number:
                seconds[name].append(taken)
    return seconds


def peak_memory(kind: str, shape: tuple[int, int]) -> int:
    """Growth of the resident set's peak over a forward pass in a fresh process, in bytes (Linux)."""
    code = f"""
import encoder, torch
from machine import forget_peak, peak_resident_bytes
model = encoder.MODELS[{kind!r}]().eval()
encoder.forward(model, torch.randint(5, 1000, (1, 64)))
forget_peak()
before = peak_resident_bytes()
encoder.forward(model, torch.randint(5, 1000, {shape!r}))
print(peak_resident_bytes() - before)
"""
    return printed_by_fresh_process(code)


def measure_long(rounds: int) -> dict:
    """Ours and the peer at both lengths."""
    torch.manual_seed(0)
    models = {kind: make().eval() for kind, make in MODELS.items()}
    batches = {name: torch.randint(5, VOCAB_SIZE, shape) for name, shape in SHAPES.items()}
    runs = {
        f"{kind}, {name}": partial(forward, model, ids)
        for name, ids in batches.items()
        for kind, model in models.items()
    }
    seconds = interleaved(runs, rounds)
    short, long = SHAPES
    growth = {
        kind: [b / a for a, b in zip(seconds[f"{kind}, {short}"], seconds[f"{kind}, {long}"], strict=True)]
        for kind in models
    }  # both shapes hold 8,192 tokens
    ratios = [
        ours / peer for ours, peer in zip(seconds[f"electra_plus, {long}"], seconds[f"modernbert, {long}"], strict=True)
    ]
    memory = {f"{kind}, {name}": peak_memory(kind, shape) for name, shape in SHAPES.items() for kind in models}
    return {"seconds": seconds, "growth_of_cost_per_token": growth, "ratio": ratios, "resident_growth_bytes": memory}


def measure_classic(rounds: int) -> dict:
    """Ours and stock ELECTRA, with equal outputs."""
    torch.manual_seed(0)
    models = {kind: model.eval() for kind, model in classic_pair().items()}
    input_ids = torch.randint(5, VOCAB_SIZE, (16, 128))
    with torch.no_grad():
        states = [model(input_ids).last_hidden_state for model in models.values()]
    found: dict = {"largest_difference": (states[0] - states[1]).abs().max().item()}
    models |= {f"{kind}, compiled": torch.compile(model) for kind, model in models.items()}
    for name, run in (("forward", forward), ("forward_backward", forward_backward)):
        seconds = interleaved({kind: partial(run, model, input_ids) for kind, model in models.items()}, rounds)
        ratios = {
            kind: [stock / other for stock, other in zip(seconds["stock"], values, strict=True)]
            for kind, values in seconds.items()
        }
        found[name] = {"seconds": seconds, "speed_ratio": ratios}
    return found


def sentence_lengths(file: Path, limit: int = 4096) -> list[int]:
    """Tokens of each sentence, `[CLS]` and `[SEP]` included, by a WordPiece vocabulary of 8,000 trained on them."""
    sentences = [row["sentence"] for row in read_examples(file)]
    random.Random(0).shuffle(sentences)
    tokenizer = train_wordpiece_tokenizer(sentences, 8000)
    return [len(ids) for ids in tokenizer(sentences[:limit])["input_ids"]]


def measure_packed(rounds: int, sentences: Path, num_sentences: int = 128, row_length: int = 128) -> dict:
    """Real tokens a second of a padded and of a packed batch, with gradients; each round has other sentences."""
    lengths = sentence_lengths(sentences)
    pad = SimpleNamespace(pad_token_id=0)
    collate = {"padded": padded_batch, "packed": DataCollatorForPacking(pad, row_length)}
    found: dict = {"mean_length": statistics.mean(lengths), "sentences": num_sentences, "row_length": row_length}
    for preset in ("modern-small", "small"):
        torch.manual_seed(0)
        config = ElectraPlusConfig.preset(preset, vocab_size=VOCAB_SIZE, generator_config=None)
        model = ElectraPlusModel(config).eval()  # without dropout
        rng = random.Random(0)
        speeds: dict[str, list[float]] = {kind: [] for kind in collate}
        fillings: dict[str, list[float]] = {kind: [] for kind in collate}
        for number in range(rounds + 1):
            drawn = rng.sample(lengths, num_sentences)
            documents = [{"input_ids": [5 + token % 1000 for token in range(length)]} for length in drawn]
            for kind, make in collate.items():
                batch = make(documents)
                started = time.perf_counter()
                states = model(**batch).last_hidden_state
                (states.square().mean(-1) * batch["attention_mask"]).sum().backward()
                seconds = time.perf_counter() - started
                model.zero_grad()
                if number:  # the first round does not count
                    speeds[kind].append(sum(drawn) / seconds)
                    fillings[kind].append(batch["attention_mask"].float().mean().item())
        ratios = [packed / padded for padded, packed in zip(speeds["padded"], speeds["packed"], strict=True)]
        found[preset] = {"tokens_per_second": speeds, "real_tokens": fillings, "speed_ratio": ratios}
    return found


def padded_batch(documents: list[dict]) -> dict[str, torch.Tensor]:
    """Return the batch as it is usually made."""
    rows = [torch.tensor(document["input_ids"]) for document in documents]
    input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"input_ids": input_ids, "attention_mask": (input_ids != 0).long()}


MEASUREMENTS = {"long": measure_long, "packed": measure_packed, "classic": measure_classic}


def summary(name: str, found: dict) -> str:
    """Say in a line or two what was found."""
    if name == "long":
        growth = {kind: statistics.median(values) for kind, values in found["growth_of_cost_per_token"].items()}
        memory = found["resident_growth_bytes"]
        return (
            f"long: cost per token from 512 to 8,192 tokens grows {growth['electra_plus']:.2f} times "
            f"(ModernBERT {growth['modernbert']:.2f}); at 8,192 {statistics.median(found['ratio']):.2f} of its time, "
            f"{memory['electra_plus, 1 x 8192'] / memory['modernbert, 1 x 8192']:.2f} of its memory"
        )
    if name == "packed":
        filling = statistics.mean(found["modern-small"]["real_tokens"]["padded"])
        speeds = (statistics.median(found[preset]["speed_ratio"]) for preset in ("modern-small", "small"))
        return (
            "packed: {:.2f} times the real tokens/s of padded (modern-small), {:.2f} (small); ".format(*speeds)
            + f"{filling:.0%} of the padded batch is text"
        )
    speeds = (
        f"{kind} {statistics.median(found['forward']['speed_ratio'][kind]):.2f} forward, "
        f"{statistics.median(found['forward_backward']['speed_ratio'][kind]):.2f} with backward"
        for kind in ("electra_plus", "stock, compiled", "electra_plus, compiled")
    )
    return f"classic, times stock's speed: {'; '.join(speeds)}"


def main() -> None:
    """Measure, print and save after every question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument(
        "--sentences",
        type=Path,
        default=sample_path("sentiment_train.jsonl"),
        help="jsonl file with the field `sentence`, for `packed` (default: the sentences that ship)",
    )
    parser.add_argument("--only", choices=MEASUREMENTS, help="measure one question and keep the others' results")
    options = parser.parse_args()
    file = RESULTS / "encoder.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results.pop("machine", None)
    for name, measure in MEASUREMENTS.items():
        if options.only in (None, name):
            arguments = {"sentences": options.sentences} if name == "packed" else {}
            results[name] = {"rounds": options.rounds, **measure(options.rounds, **arguments)}
            print(summary(name, results[name]))
            print(save_result("encoder", results))


if __name__ == "__main__":
    main()
