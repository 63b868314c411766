"""From raw text to a folder for pretraining: a tokenizer, packed rows on disk, and a manifest that says what they are."""

import hashlib
import json
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from electra_plus.data.documents import sample_documents
from electra_plus.data.prepared import MANIFEST, MANIFEST_FORMAT
from electra_plus.data.row_rules import RULES
from electra_plus.data.shards import PARTS, ShardSettings, gather_shards, join_shards, row_features, write_shards
from electra_plus.data.sources import Source, describe_source, find_sources, read_source
from electra_plus.data.tokenization import load_tokenizer, train_wordpiece_tokenizer
from electra_plus.folders import finished_folder

logger = logging.getLogger(__name__)

# A tokenizer learns little from more text than this, and its trainer's memory grows with the different words it sees.
TOKENIZER_CHARACTERS = 50_000_000
# Of tokens or text; with more of them unknown `prepare` warns.
MAX_UNKNOWN_FRACTION = 0.01
# What a work folder was begun with: the settings, the sources and the versions.
PLAN = "plan.json"
PACKAGES = ("electra-plus", "transformers", "tokenizers", "datasets", "pyarrow")


@dataclass
class PreparationSettings:
    """
    What `electra-plus prepare` needs to know.

    Args:
        input (`list[str]`):
            Files (`.txt`, `.jsonl`, `.csv`, each also with `.gz`; `.parquet`), folders of them, or datasets of the Hub.
        output_dir (`str`): Folder to write. It appears when it is complete.
        rule (`str`, *optional*, defaults to `"documents"`): How rows are made, a key of `RULES`.
        row_length (`int`, *optional*, defaults to 128): Tokens in a row.
        tokenizer (`str`, *optional*): Folder, Hub name or BERT `vocab.txt`. `None` trains one on up to 50 million characters.
        vocab_size (`int`, *optional*): Of the tokenizer that is trained. `None` means 8192.
        lowercase (`bool`, *optional*): Of the tokenizer that is trained. `None` means `True`.
        max_length (`int`, *optional*):
            What the trained tokenizer's truncation cuts to, in tokens. `None` means 512, or `row_length` if that is more.
        text_column (`str`, *optional*): Of tables. `None` guesses where it is clear.
        dataset_config (`str`, *optional*): Of datasets that have several.
        split (`str`, *optional*, defaults to `"train"`): Of datasets.
        held_out_fraction (`float`, *optional*, defaults to 0.01): Of the documents, in [0, 1), chosen by their hash.
        seed (`int`, *optional*, defaults to 0): Of the draws of the rule `"sentences"` and the order of `"stream"`.
        num_proc (`int`, *optional*, defaults to 1): Processes that tokenise. The result does not depend on it.
        overwrite (`bool`, *optional*, defaults to `False`): Replace the output folder with all it holds.
    """

    input: list[str]
    output_dir: str
    rule: str = "documents"
    row_length: int = 128
    tokenizer: str | None = None
    vocab_size: int | None = None
    lowercase: bool | None = None
    max_length: int | None = None
    text_column: str | None = None
    dataset_config: str | None = None
    split: str = "train"
    held_out_fraction: float = 0.01
    seed: int = 0
    num_proc: int = 1
    overwrite: bool = False


def prepare(settings: PreparationSettings) -> dict[str, Any]:
    """
    Write a tokenizer, rows for pretraining, and their manifest; open them with [`load_prepared`].

    Finished shards wait beside the output folder in `.<name>.unfinished`. A run with the same settings and the same sources
    goes on after them, with the tokenizer trained before, and ends with the same rows; with others it starts anew. Two runs from
    the beginning agree to the last byte.

    Args:
        settings ([`PreparationSettings`]): What to do.

    Returns:
        `dict`: the manifest, as it is written to `manifest.json`.

    Raises:
        FileNotFoundError: An input does not exist.
        ValueError: A setting is out of range or contradicts another, a file is broken, or there is no text.
    """
    _check(settings)
    sources = find_sources(settings.input, settings.dataset_config, settings.split)
    kinds = {source.kind for source in sources}
    if settings.text_column is not None and kinds == {"text"}:
        raise ValueError("`text_column` needs tables or datasets, got text files only. Leave it out.")
    if "dataset" not in kinds and (settings.dataset_config is not None or settings.split != "train"):
        raise ValueError("`dataset_config` and `split` need a dataset, got files only. Leave them out.")
    local = [source.name for source in sources if Path(source.name).exists()]
    own_tokenizer = [settings.tokenizer] if settings.tokenizer is not None else []
    with finished_folder(settings.output_dir, settings.overwrite, *local, *own_tokenizer) as unfinished:
        output = Path(settings.output_dir).resolve()
        work = output.with_name(f".{output.name}.unfinished")
        plan = _plan(settings, sources)
        fingerprint = _start_or_go_on(work, plan)
        try:
            manifest = _work(settings, sources, work, plan, fingerprint)
        except BaseException:
            if not (work / "tokenizer").is_dir():  # nothing to go on from
                shutil.rmtree(work)
            raise
        (work / PLAN).unlink()  # from here on the work folder has lost its rows: nobody may go on from it
        (work / "output").rename(unfinished)
    shutil.rmtree(work)
    return manifest


def _check(settings: PreparationSettings) -> None:
    if settings.rule not in RULES:
        raise ValueError(f"`rule` must be one of {list(RULES)}, got {settings.rule!r}.")
    least = RULES[settings.rule].least_row_length
    if settings.row_length < least:
        raise ValueError(
            f"`row_length` must be at least {least} tokens for `{settings.rule}`, got {settings.row_length}."
        )
    if not 0 <= settings.held_out_fraction < 1:
        raise ValueError(
            f"`held_out_fraction` must be in [0, 1), got {settings.held_out_fraction}. 0 holds out nothing."
        )
    if settings.num_proc < 1:
        raise ValueError(f"`num_proc` must be at least 1, got {settings.num_proc}.")
    if settings.num_proc > 1 and not RULES[settings.rule].prepared:
        raise ValueError(f"`num_proc` must be 1 for `{settings.rule}`, which writes no rows, got {settings.num_proc}.")
    if settings.tokenizer is not None:
        of_training = ("vocab_size", "lowercase", "max_length")
        given = [name for name in of_training if getattr(settings, name) is not None]
        if given:
            raise ValueError(
                f"{given} are for a tokenizer that is trained, but `tokenizer` is given. Leave out one of them."
            )


def _work(
    settings: PreparationSettings, sources: Sequence[Source], work: Path, plan: dict[str, Any], fingerprint: str
) -> dict[str, Any]:
    """Fill the work folder's `output`; return the manifest."""
    tokenizer = _tokenizer(settings, sources, work)
    manifest = {
        "format": MANIFEST_FORMAT,
        "rule": settings.rule,
        "row_length": settings.row_length,
        "seed": settings.seed,
        "held_out_fraction": settings.held_out_fraction,
        "tokenizer": settings.tokenizer or "trained",
        "vocab_size": len(tokenizer),
        "text_column": settings.text_column,
        "sources": plan["sources"],
        "versions": plan["versions"],
        "fingerprint": fingerprint,
    }
    output = work / "output"
    if RULES[settings.rule].prepared:
        manifest.update(_write_rows(settings, sources, tokenizer, work))
        for part in PARTS:
            join_shards(output / part, settings.rule, len(tokenizer), f"{fingerprint}-{part}")
    tokenizer.save_pretrained(output)
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (output / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def _plan(settings: PreparationSettings, sources: Sequence[Source]) -> dict[str, Any]:
    """Return all that the rows depend on, for the manifest and to know a run with the same settings again."""
    free = ("input", "output_dir", "num_proc", "overwrite")
    plan = {name: value for name, value in asdict(settings).items() if name not in free}
    plan["versions"] = {name: version(name) for name in PACKAGES}
    if settings.tokenizer is not None:
        tokenizer = _given_tokenizer(settings.tokenizer)
        content = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else json.dumps(tokenizer.get_vocab())
        plan["tokenizer_sha256"] = hashlib.sha256(content.encode("utf-8")).hexdigest()
    bar = tqdm(sources, desc="sources", unit="source", disable=None, leave=False)
    return {**plan, "sources": [describe_source(source) for source in bar]}


def _start_or_go_on(work: Path, plan: dict[str, Any]) -> str:
    """Make the work folder, or keep the one that a run with the same plan has left; return the plan's fingerprint."""
    text = json.dumps(plan, sort_keys=True)
    file = work / PLAN
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        logger.warning("`%s`: goes on where a run with the same settings stopped", work)
    else:
        shutil.rmtree(work, ignore_errors=True)
        (work / "output").mkdir(parents=True)
        if RULES[plan["rule"]].prepared:
            for folder in (*(work / "output" / part for part in PARTS), work / "finished"):
                folder.mkdir()
        file.write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def _tokenizer(settings: PreparationSettings, sources: Sequence[Source], work: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer given, that of the run before, or a new one; it lies in the work folder afterwards."""
    folder = work / "tokenizer"
    if folder.is_dir():
        return load_tokenizer(folder)
    if settings.tokenizer is not None:
        tokenizer = _given_tokenizer(settings.tokenizer)
    else:
        documents = sample_documents(
            _documents(sources, settings, "text for the tokenizer"), TOKENIZER_CHARACTERS, settings.held_out_fraction
        )
        tokenizer = train_wordpiece_tokenizer(
            [paragraph for document in documents for paragraph in document],
            8192 if settings.vocab_size is None else settings.vocab_size,
            lowercase=settings.lowercase is not False,
            model_max_length=settings.max_length or max(512, settings.row_length),
            show_progress=sys.stderr.isatty(),
        )
    tokenizer.save_pretrained(work / "tokenizer.part")
    (work / "tokenizer.part").rename(folder)
    return tokenizer


def _given_tokenizer(name: str) -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(name)
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise ValueError(
            f"`tokenizer` must have a [CLS] and a [SEP] token, which begin and end each piece; {name!r} lacks one."
        )
    return tokenizer


def _documents(sources: Sequence[Source], settings: PreparationSettings, title: str) -> Iterator[list[str]]:
    """Yield the documents of all sources under a progress bar of bytes on disk; datasets have none to count."""
    sizes = [Path(source.name).stat().st_size if source.kind != "dataset" else 0 for source in sources]
    with tqdm(total=sum(sizes) or None, desc=title, unit="B", unit_scale=True, disable=None) as bar:
        before = 0
        for source, size in zip(sources, sizes, strict=True):

            def on_position(position: int, before: int = before) -> None:
                bar.update(before + position - bar.n)

            yield from read_source(source, settings.text_column, on_position=on_position)
            before += size


def _write_rows(
    settings: PreparationSettings, sources: Sequence[Source], tokenizer: PreTrainedTokenizerBase, work: Path
) -> dict[str, Any]:
    """Write all rows; return what the manifest says of them."""
    counts = Counter(documents=0, duplicates=0)
    shards = gather_shards(_documents(sources, settings, "rows"), settings.held_out_fraction, counts)
    of_shards = ShardSettings(
        settings.rule,
        settings.row_length,
        settings.seed,
        tokenizer=str(work / "tokenizer"),
        output=str(work / "output"),
        finished=str(work / "finished"),
        schema=row_features(settings.rule, len(tokenizer)).arrow_schema,
    )
    figures = write_shards(shards, of_shards, tokenizer, settings.num_proc)
    found: dict[str, Any] = {"documents_read": counts["documents"], "duplicates_dropped": counts["duplicates"]}
    for part in PARTS:
        total = Counter()
        for one in figures:
            total.update(one[part])
        slots = total["rows"] * settings.row_length
        found[part] = {name: total[name] for name in ("documents", "rows", "tokens")}
        found[part]["padding_fraction"] = round(1 - total["tokens"] / slots, 6) if slots else None
        # of the tokens in rows, and of the text: [UNK] stands for a whole word, which may be a line
        unknown, unknown_text = total.pop("unknown_tokens", 0), total.pop("unknown_characters", 0)
        sampled = total.pop("sampled_characters", 0)
        found[part]["unknown_fraction"] = round(unknown / total["tokens"], 6) if slots else None
        found[part]["unknown_text_fraction"] = round(unknown_text / sampled, 6) if sampled else None
        found[part].update({name: number for name, number in total.items() if name not in found[part]})
    if not found["train"]["rows"]:
        read = counts["documents"] - counts["duplicates"]
        raise ValueError(
            f"`input` gives no rows to train on: {read} different documents, {found['held_out']['documents']} of them held out. "
            "Give more text, or a smaller `held_out_fraction`."
        )
    if settings.held_out_fraction and not found["held_out"]["rows"]:
        logger.warning(
            "no document is held out: `held_out_fraction` is %s, and there are %d documents",
            settings.held_out_fraction, found["train"]["documents"],
        )  # fmt: skip
    warn_of_unknown(found["train"]["unknown_fraction"], found["train"]["unknown_text_fraction"] or 0.0)
    return found


def warn_of_unknown(of_tokens: float, of_text: float) -> None:
    """Say what helps if more than a percent of tokens or text, given as fractions, is unknown to the tokenizer."""
    if max(of_tokens, of_text) > MAX_UNKNOWN_FRACTION:
        logger.warning(
            "[UNK] is %.2f %% of the tokens and hides %.1f %% of the text: a larger `vocab_size` helps against rare characters, "
            "spaces between words against [UNK] for words of more than 100 characters, or give another `tokenizer`",
            100 * of_tokens, 100 * of_text,
        )  # fmt: skip
