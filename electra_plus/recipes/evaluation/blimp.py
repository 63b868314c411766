"""BLiMP: does a model find the grammatical sentence of a minimal pair more natural than the other one?"""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from electra_plus.data.examples import read_examples
from electra_plus.recipes.evaluation.loading import Networks, load_networks
from electra_plus.recipes.evaluation.report import table
from electra_plus.recipes.evaluation.scoring import (
    detector_scores,
    encode_sentences,
    log_likelihoods,
    pseudo_log_likelihoods,
)

FIELDS = ("sentence_good", "sentence_bad", "UID")
# float32 cannot tell scores apart whose difference is this fraction of them; calling such a pair a tie keeps chance out
TIE_MARGIN = 1e-6


@dataclass
class BlimpSettings:
    """
    What the suite `blimp` can be told.

    Args:
        limit (`int`, *optional*): Pairs of each paradigm, from its start. `None` takes all.
        scorers (`list[str]`, *optional*):
            Which of the networks judge: `detector`, `masked_lm`, `causal_lm`. `None` takes all that the checkpoint holds.
        batch_tokens (`int`, *optional*, defaults to 8192): Tokens in a batch at most. Figures do not depend on it.
    """

    limit: int | None = None
    scorers: list[str] | None = None
    batch_tokens: int = 8192


@dataclass(frozen=True)
class Pair:
    """A minimal pair: two sentences that differ in one point of grammar, its paradigm, and what that is an example of."""

    good: str
    bad: str
    paradigm: str
    phenomenon: str | None = None


def read_pairs(paths: Sequence[str | Path], limit: int | None = None) -> list[Pair]:
    """
    Read minimal pairs from `.jsonl` files (or `.jsonl.gz`) with `sentence_good`, `sentence_bad`, `UID` (the paradigm) and, if
    given, `linguistics_term` (the phenomenon).

    Args:
        paths: Files, or folders of them.
        limit (`int`, *optional*): Pairs of each paradigm, from its start. `None` takes all.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no such file.
        ValueError: A row lacks a field.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"`--data {path}` does not exist. Give BLiMP's .jsonl files or a folder of them.")
        found = sorted(file for file in path.iterdir() if _is_jsonl(file)) if path.is_dir() else [path]
        if not found:
            raise FileNotFoundError(f"`--data {path}` holds no .jsonl or .jsonl.gz file. Give the folder of the pairs.")
        files.extend(found)
    pairs: list[Pair] = []
    seen: dict[str, int] = defaultdict(int)
    for file in files:
        for number, row in enumerate(read_examples(file), start=1):
            missing = [field for field in FIELDS if field not in row]
            if missing:
                raise ValueError(f"`--data {file}` row {number} lacks {missing}: minimal pairs have {list(FIELDS)}.")
            seen[row["UID"]] += 1
            if limit is None or seen[row["UID"]] <= limit:
                pairs.append(Pair(*(row[field] for field in FIELDS), row.get("linguistics_term")))
    return pairs


def judge(pairs: Sequence[Pair], good: Sequence[float], bad: Sequence[float]) -> dict[str, Any]:
    r"""
    Count the pairs whose good sentence scores higher; equal scores count as wrong, and are reported.

    Args:
        pairs: Of one paradigm or several.
        good, bad (`Sequence[float]`): Scores of each pair's sentences. Two that differ by less than a millionth are equal.

    Returns:
        `dict`: `macro_accuracy` (mean over paradigms, each counting the same), `pairs`, `ties`, `paradigms` (for each its
        `accuracy`, `pairs` and `ties`) and `phenomena` (for each the mean accuracy of its paradigms).

    Source: Warstadt et al. 2020, "BLiMP: The Benchmark of Linguistic Minimal Pairs for English",
    https://aclanthology.org/2020.tacl-1.25/. Its paradigms have 1,000 pairs each, so that its mean is this one.
    """
    verdicts: dict[str, list[str]] = defaultdict(list)
    for pair, of_good, of_bad in zip(pairs, good, bad, strict=True):
        tied = math.isclose(of_good, of_bad, rel_tol=TIE_MARGIN)
        verdicts[pair.paradigm].append("tie" if tied else "right" if of_good > of_bad else "wrong")
    paradigms = {
        name: {"accuracy": given.count("right") / len(given), "pairs": len(given), "ties": given.count("tie")}
        for name, given in sorted(verdicts.items())
    }
    members: dict[str, dict[str, float]] = defaultdict(dict)
    for pair in pairs:
        if pair.phenomenon is not None:
            members[pair.phenomenon][pair.paradigm] = paradigms[pair.paradigm]["accuracy"]
    return {
        "macro_accuracy": mean(row["accuracy"] for row in paradigms.values()),
        "pairs": len(pairs),
        "ties": sum(row["ties"] for row in paradigms.values()),
        "paradigms": paradigms,
        "phenomena": {name: mean(accuracies.values()) for name, accuracies in sorted(members.items())},
    }


def blimp(model: str, data: Sequence[str], settings: BlimpSettings) -> dict[str, Any]:
    """
    Judge minimal pairs with every network of a checkpoint.

    The detector sums over tokens the log-probability that they are original; the masked LM (of a joint checkpoint, its
    generator) sums pseudo-log-likelihoods; a causal LM sums log-likelihoods.

    Args:
        model (`str`): Folder or Hub name, as in [`load_networks`].
        data (`Sequence[str]`): Files or folders, as in [`read_pairs`].
        settings ([`BlimpSettings`]): The rest.

    Returns:
        `dict`: for each network what [`judge`] returns, and `pairs_per_second`.

    Raises:
        ValueError: The checkpoint lacks a network that `settings.scorers` names, or the data are no minimal pairs.
    """
    pairs = read_pairs(data, settings.limit)
    networks = load_networks(model)
    present = [name for name in ("detector", "masked_lm", "causal_lm") if getattr(networks, name) is not None]
    absent = sorted(set(settings.scorers or []) - set(present))
    if absent:
        raise ValueError(f"`--scorers` names {absent}, but `--model {model}` holds {present}. Choose among these.")
    figures = {}
    for name in settings.scorers or present:
        started = time.perf_counter()
        scores = sentence_scores(networks, name, pairs, settings.batch_tokens)
        seconds = time.perf_counter() - started
        figures[name] = {**judge(pairs, scores[::2], scores[1::2]), "pairs_per_second": len(pairs) / seconds}
    return figures


def sentence_scores(networks: Networks, name: str, pairs: Sequence[Pair], batch_tokens: int) -> list[float]:
    """Return the scores of one network, in nats: good and bad sentence of the first pair, of the second, and so on."""
    network = getattr(networks, name)
    sentences = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    rows = encode_sentences(networks.tokenizer, network.config, sentences, needs_start=name == "causal_lm")
    common = {"batch_tokens": batch_tokens, "progress": name}
    if name == "detector":
        return detector_scores(network, rows, **common)
    if name == "masked_lm":
        if networks.tokenizer.mask_token_id is None:
            raise ValueError(
                "`--model` has a masked LM and a tokenizer without mask token. Add `mask_token` to the latter."
            )
        return pseudo_log_likelihoods(network, networks.tokenizer.mask_token_id, rows, **common)
    return log_likelihoods(network, rows, **common)


def blimp_table(figures: dict[str, Any]) -> str:
    """Return the accuracies as a table: a row a paradigm, then the means over each phenomenon and all; a column a network."""
    first = next(iter(figures.values()))
    rows = [
        (name, str(row["pairs"]), *(f"{of['paradigms'][name]['accuracy']:.3f}" for of in figures.values()))
        for name, row in first["paradigms"].items()
    ]
    for name in first["phenomena"]:
        rows.append((f"mean of {name}", "", *(f"{of['phenomena'][name]:.3f}" for of in figures.values())))
    total = str(first["pairs"])
    rows.append(("mean over paradigms", total, *(f"{of['macro_accuracy']:.3f}" for of in figures.values())))
    rows.append(("ties (count as wrong)", "", *(str(of["ties"]) for of in figures.values())))
    rows.append(("pairs a second", "", *(f"{of['pairs_per_second']:.0f}" for of in figures.values())))
    return table(("paradigm", "pairs", *figures), rows)


def _is_jsonl(file: Path) -> bool:
    return file.name.endswith((".jsonl", ".jsonl.gz"))
