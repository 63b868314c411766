"""Tables of fine-tuning for `tables.py`: every recipe beside stock, translation, generation."""

import statistics

from table_parts import on_machine, result, spread

ENCODERS = {
    "minilm": "MiniLM",
    "english": "small English",
    "chinese": "small Chinese",
    "bilingual": "random, 3 layers",
}
HUNDREDTHS = ("accuracy", "f1_macro")  # metrics from 0 to 1; others are shown with one digit


def score(values: list[float]) -> str:
    """
    Mean and standard deviation, with the digits that a metric's size asks for.

    >>> score([0.5, 0.75]), score([31.0, 33.0]), score([0.5])
    ('0.625 ± 0.177', '32.0 ± 1.4', '0.500')
    """
    if max(values) <= 1:
        return spread(values)
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def tasks() -> str:
    """Every recipe: what it reaches and how fast, beside stock."""
    found = result("tasks")
    by_case: dict[str, dict[str, list[dict]]] = {}
    for row in found["rows"]:
        by_case.setdefault(row["case"], {}).setdefault(row["arm"], []).append(row)
    compared = {case: arms for case, arms in by_case.items() if "stock" in arms}
    whole = {case: arms for case, arms in by_case.items() if "stock" not in arms}
    seeds = max(len(rows) for arms in compared.values() for rows in arms.values())
    lines = [
        f"Fine-tuning recipes beside stock classes with the same weights in the stock `Trainer` (float32, as it comes), on few rows, "
        f"{seeds} seeds: the score of the best epoch on held-out rows, mean and standard deviation over seeds; seconds of processor time "
        "of one thread from rows in memory to that score, with an evaluation and a checkpoint after each epoch; the speed is the ratio "
        f"for each seed, its median and range ({on_machine(found)}; a machine shared with other work):",
        "",
        "| recipe | encoder | rows | metric | electra_plus | stock | seconds | stock | tokens/s | stock | speed | speed, float32 |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case, arms in compared.items():
        own, stock, same = arms["electra_plus"], arms["stock"], arms.get("electra_plus, float32", [])
        seconds = {row["seed"]: row["seconds"] for row in stock}
        ratios = [seconds[row["seed"]] / row["seconds"] for row in own if row["seed"] in seconds]
        in_float32 = [seconds[row["seed"]] / row["seconds"] for row in same if row["seed"] in seconds]
        medians = [
            f"{statistics.median(row[name] for row in rows):,.0f}"
            for name in ("seconds", "tokens_per_second")
            for rows in (own, stock)
        ]
        recipe = case.removesuffix(", own")
        lines.append(
            f"| `{recipe}` | {ENCODERS[own[0]['encoder']]} | {own[0]['train_rows']:,} | {own[0]['metric'].replace('_', ' ')} | "
            f"{score([row['score'] for row in own])} | {score([row['score'] for row in stock])} | {' | '.join(medians)} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
            f"{statistics.median(in_float32):.2f} |"
        )
    if whole:
        lines += [
            "",
            "The recipes on more rows, electra_plus alone:",
            "",
            "| recipe | dataset | encoder | rows | seeds | scores | seconds | tokens/s |",
            "|---|---|---|---:|---:|---|---:|---:|",
        ]
    for case, arms in whole.items():
        own = arms["electra_plus"]
        scores = {name: [row["scores"][name] for row in own] for name in own[0]["scores"] if name != "loss"}
        shown = ", ".join(f"{name.replace('_', ' ')} {score(values)}" for name, values in list(scores.items())[:2])
        lines.append(
            f"| `{case.split(',')[0]}` | {own[0]['dataset']} | {ENCODERS[own[0]['encoder']]} | {own[0]['num_rows']:,} | {len(own)} | "
            f"{shown} | {statistics.median(row['seconds'] for row in own):,.0f} | "
            f"{statistics.median(row['tokens_per_second'] for row in own):,.0f} |"
        )
    return "\n".join(lines)


def translation() -> str:
    """A translation model of half an hour, and what it writes."""
    found = result("translation")
    minutes = found["processor_seconds"] / 60
    curve = [point for point in found["curve"] if "eval_bleu" in point]
    half = len(found["samples"]) // 2
    lines = [
        f"Multi30k, English to German: {found['train_rows']:,} pairs, {found['settings']['epochs']} epochs, {minutes:.0f} minutes of "
        f"processor time ({on_machine(found)}), everything from random weights. Test of 2016 ({found['test_rows']:,} pairs), "
        f"{found['settings']['beams']} beams: **BLEU {found['test']['bleu']:.1f}, chrF {found['test']['chrf']:.1f}**.",
        "",
        "| epoch | BLEU, validation | chrF | nats a token |",
        "|---:|---:|---:|---:|",
        *(
            f"| {point['epoch']:.0f} | {point['eval_bleu']:.1f} | {point['eval_chrf']:.1f} | {point['eval_loss']:.2f} |"
            for point in curve
        ),
    ]
    for title, some in (("nearest to", found["samples"][:half]), ("farthest from", found["samples"][half:])):
        lines += [
            "",
            f"Of the test captions of ten words and more, the translations {title} their references (by chrF):",
            "",
            "| source | translation | reference |",
            "|---|---|---|",
            *(f"| {one['source']} | {one['translation']} | {one['reference']} |" for one in some),
        ]
    return "\n".join(lines)


def generation() -> str:
    """What small models write."""
    found = result("generation")
    lines = [f"Measured on one thread ({on_machine(found)})."]
    sources = {"english": "American presidents' speeches", "chinese": "classical Chinese novels"}
    for row in found["rows"]:
        tokens = found["settings"]["new_tokens"]
        lines += [
            "",
            f"From {sources[row['language']]}: perplexity {row['perplexity']:.1f} on held-out texts after "
            f"{row['processor_seconds'] / 60:.0f} minutes of processor time. Each continuation has {tokens} tokens at most:",
            "",
            "| | prompt | continuation |",
            "|---|---|---|",
        ]
        for way, samples in row["samples"].items():
            lines += [f"| {way} | {prompt} | {' '.join(text.split())} |" for prompt, text in samples]
    return "\n".join(lines)
