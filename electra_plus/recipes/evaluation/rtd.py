"""Held-out replaced token detection: how well a detector finds what a masked LM put into text that neither has seen."""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.corpus import pack_rows, read_documents
from electra_plus.data.masking import DataCollatorForReplacedTokenDetection
from electra_plus.metrics.detection import DetectionMetrics
from electra_plus.models.corruption_electra_plus import logits_at_slots
from electra_plus.models.objectives_electra_plus import replaced_token_labels, sample_replacements
from electra_plus.recipes.evaluation.loading import load_networks, longest_input
from electra_plus.recipes.evaluation.report import table


@dataclass
class RtdSettings:
    """
    What the suite `rtd` can be told.

    Args:
        generator (`str`, *optional*):
            Folder or Hub name of the masked LM that fills the slots. `None` takes the checkpoint's own. One masked LM for
            all makes detectors comparable, since a weak generator is easily found out.
        limit (`int`, *optional*): Rows of text, from the start. `None` takes all.
        row_length (`int`, *optional*, defaults to 128): Tokens in a row.
        mask_rate (`float`, *optional*, defaults to 0.15): Fraction of each row's tokens to choose, in (0, 1).
        batch_size (`int`, *optional*, defaults to 32): Rows in a batch. Masks and draws do not depend on it.
        seed (`int`, *optional*, defaults to 0): Of masks and draws.
    """

    generator: str | None = None
    limit: int | None = None
    row_length: int = 128
    mask_rate: float = 0.15
    batch_size: int = 32
    seed: int = 0


def rtd(model: str, data: Sequence[str], settings: RtdSettings) -> dict[str, Any]:
    """
    Corrupt held-out text with a masked LM and let the detector look for the replaced tokens.

    Args:
        model (`str`): Folder or Hub name, as in [`load_networks`]: a joint checkpoint, or a detector with
            `settings.generator`.
        data (`Sequence[str]`): Text files or folders of them, as in [`read_documents`].
        settings ([`RtdSettings`]): The rest.

    Returns:
        `dict`: what [`detection_figures`] returns, and `rows_per_second`.

    Raises:
        ValueError: There is no detector or no generator, or their vocabularies differ.
    """
    networks = load_networks(model)
    if networks.detector is None:
        raise ValueError(f"`--model {model}` holds no detector. Give a joint checkpoint or a detector.")
    masked_lm = networks.masked_lm
    if settings.generator is not None:
        masked_lm = load_generator(settings.generator, networks.tokenizer)
    elif masked_lm is None:
        raise ValueError(
            f"`--model {model}` holds a detector alone: `--generator` must name a masked LM with the same vocabulary."
        )
    longest = min(longest_input(networks.tokenizer, network.config) for network in (networks.detector, masked_lm))
    if settings.row_length > longest:
        raise ValueError(f"`--row-length` ({settings.row_length}) exceeds what the model reads, {longest} tokens.")
    rows = pack_rows(read_documents(data), networks.tokenizer, settings.row_length).rows[: settings.limit]
    started = time.perf_counter()
    figures = detection_figures(networks.detector, masked_lm, networks.tokenizer, rows, settings, progress="rows")
    return {**figures, "rows_per_second": len(rows) / (time.perf_counter() - started)}


def load_generator(generator: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """
    Open the masked LM that fills the slots.

    Raises:
        ValueError: It is no masked LM, or its tokens have other ids than those of `tokenizer`.
    """
    masked_lm = load_networks(generator, "--generator").masked_lm
    if masked_lm is None:
        raise ValueError(f"`--generator {generator}` is no masked LM. Give a joint checkpoint or a masked LM.")
    if AutoTokenizer.from_pretrained(generator).get_vocab() != tokenizer.get_vocab():
        raise ValueError(
            f"`--generator {generator}` has another vocabulary than `--model`: its tokens would mean other words. Give a "
            "masked LM that was trained with the same tokenizer."
        )
    return masked_lm


@torch.inference_mode()
def detection_figures(
    detector: PreTrainedModel,
    masked_lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[list[int]],
    settings: RtdSettings,
    progress: str | None = None,
) -> dict[str, Any]:
    r"""
    Score detector and masked LM on rows of text, with masks and draws that depend on the seed and the row alone.

    As in pretraining, 15 % of the chosen slots show their token to the masked LM. The draws follow its probabilities as
    they are (temperature 1) and may hit the original, which then counts as original. They are made on the CPU, so that
    every device has the same ones.

    Args:
        detector ([`ElectraPlusForReplacedTokenDetection`]): In evaluation mode.
        masked_lm ([`PreTrainedModel`]): In evaluation mode, with the same vocabulary.
        tokenizer ([`PreTrainedTokenizerBase`]): Of both.
        rows (`Sequence[list[int]]`): Token ids with special tokens.
        settings ([`RtdSettings`]): Of masks, draws and batches.
        progress (`str`, *optional*): Label of a progress bar over rows. `None` shows none.

    Returns:
        `dict`: `auc`, `accuracy`, `precision` and `recall` (of "replaced"), `replaced_rate` (fraction of tokens),
        `generator_loss` (nats a chosen slot), `generator_perplexity` (its exponential), `generator_accuracy`, and the
        numbers `rows`, `tokens` and `masked`.
    """
    detection = DetectionMetrics()
    loss = correct = num_masked = num_tokens = 0
    with tqdm(total=len(rows), desc=progress, disable=progress is None, unit="row") as bar:
        for first, batch in masked_batches(rows, tokenizer, settings):
            labels = batch.pop("labels")
            inputs = {name: tensor.to(masked_lm.device) for name, tensor in batch.items()}
            slots = (labels != -100).flatten().nonzero().squeeze(1)
            original_ids = labels.flatten()[slots]
            logits = logits_at_slots(masked_lm, slots=slots.to(masked_lm.device), **inputs).float().cpu()
            drawn = draw_by_row(logits, (labels != -100).sum(dim=1).tolist(), first, settings.seed)
            corrupted_ids = batch["input_ids"].masked_scatter(labels != -100, drawn)
            uncorrupted_ids = torch.where(labels != -100, labels, batch["input_ids"])
            scores = detector(corrupted_ids.to(detector.device), attention_mask=inputs["attention_mask"]).logits
            detection.update(
                scores.cpu(), replaced_token_labels(corrupted_ids, uncorrupted_ids, batch["attention_mask"])
            )
            loss += F.cross_entropy(logits, original_ids, reduction="sum").item()
            correct += (logits.argmax(dim=-1) == original_ids).sum().item()
            num_masked += len(slots)
            num_tokens += batch["attention_mask"].sum().item()
            bar.update(len(labels))
    if not num_masked:
        raise ValueError("`--data` has no token that may be masked: is it in a language that the tokenizer knows?")
    figures = detection.compute()
    return {
        **{name: figures[name] for name in ("auc", "accuracy", "precision", "recall", "replaced_rate")},
        "generator_loss": loss / num_masked,
        "generator_perplexity": math.exp(loss / num_masked),
        "generator_accuracy": correct / num_masked,
        "rows": len(rows),
        "tokens": num_tokens,
        "masked": num_masked,
    }


def masked_batches(
    rows: Sequence[list[int]], tokenizer: PreTrainedTokenizerBase, settings: RtdSettings
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the number of the first row, and padded `input_ids`, `attention_mask` and `labels`; each row masked alone."""
    collator = DataCollatorForReplacedTokenDetection(
        tokenizer, mask_rate=settings.mask_rate, seed=settings.seed, rank=0
    )
    fillers = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "labels": -100}
    for first in range(0, len(rows), settings.batch_size):
        singles = [
            collator([row], step=number)
            for number, row in enumerate(rows[first : first + settings.batch_size], start=first)
        ]
        width = max(single["input_ids"].shape[1] for single in singles)
        yield (
            first,
            {
                name: torch.cat(
                    [F.pad(single[name], (0, width - single[name].shape[1]), value=filler) for single in singles]
                )
                for name, filler in fillers.items()
            },
        )


def draw_by_row(logits: Tensor, num_masked: Sequence[int], first: int, seed: int) -> Tensor:
    r"""
    Draw a token for every slot, each row with a random sequence of its own.

    Args:
        logits (`torch.FloatTensor` of shape `(num_slots, vocab_size)`): Of the slots, row after row, on the CPU.
        num_masked (`Sequence[int]`): Slots of each row.
        first (`int`): Number of the first row in the text.
        seed (`int`): Start of the random sequences.

    Returns:
        `torch.LongTensor` of shape `(num_slots,)`
    """
    drawn = []
    for number, of_row in enumerate(logits.split(list(num_masked)), start=first):
        digest = hashlib.blake2b(f"draws,{seed},{number}".encode(), digest_size=8).digest()
        rng = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
        drawn.append(sample_replacements(of_row, rng=rng))
    return torch.cat(drawn)


def rtd_table(figures: dict[str, Any]) -> str:
    """Return the figures as a table, one a line."""
    meanings = {
        "auc": "detector: AUC",
        "accuracy": "detector: accuracy",
        "precision": "detector: precision of replaced",
        "recall": "detector: recall of replaced",
        "replaced_rate": "fraction of tokens replaced",
        "generator_loss": "generator: loss (nats)",
        "generator_perplexity": "generator: perplexity",
        "generator_accuracy": "generator: accuracy",
        "rows": "rows",
        "tokens": "tokens",
        "masked": "slots to fill",
        "rows_per_second": "rows a second",
    }
    rows = []
    for name, meaning in meanings.items():
        value = figures[name]
        digits = 1 if name in ("rows_per_second", "generator_perplexity") else 4
        rows.append((meaning, f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"))
    rows.insert(2, ("  of always saying original", f"{1 - figures['replaced_rate']:.4f}"))
    return table(("figure", "value"), rows)
