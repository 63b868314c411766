"""Tables of fine-tuning, pipelines and what models write, for `tables.py`."""

import statistics

from table_parts import on_machine, result, spread, with_range

ENCODERS = {
    "minilm": "MiniLM",
    "english": "small English",
    "chinese": "small Chinese",
    "bilingual": "random, 3 layers",
}


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
        f"up to {seeds} seeds: the score of the best epoch on held-out rows, mean and standard deviation over seeds; seconds of processor time "
        "of one thread from rows in memory to that score, with an evaluation and a checkpoint after each epoch; the speed is the ratio "
        f"for each seed, its median and range ({on_machine(found)}; a machine shared with other work):",
        "",
        "| recipe | encoder | rows | seeds | metric | electra_plus | stock | seconds | stock | tokens/s | stock | speed | speed, float32 |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
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
        metric, key = own[0]["metric"].replace("_", " "), own[0]["metric"]
        if metric == "bleu":  # nothing yet after so few pairs
            metric, key = "nats a token", "loss"
        lines.append(
            f"| `{recipe}` | {ENCODERS[own[0]['encoder']]} | {own[0]['train_rows']:,} | {len(stock)} | {metric} | "
            f"{score([row['scores'][key] for row in own])} | {score([row['scores'][key] for row in stock])} | {' | '.join(medians)} | "
            f"{with_range(ratios)} | {statistics.median(in_float32):.2f} |"
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
        f"{found['settings']['beams']} beams: **BLEU {found['test']['bleu']:.1f}, chrF {found['test']['chrf']:.1f}**, without a beam {found['test_without_beam']['bleu']:.1f} and "
        f"{found['test_without_beam']['chrf']:.1f}.",
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


def long_context() -> str:
    """Readers of long texts, beside truncation."""
    found = result("long_context")
    names = {
        "first 128": "cut after 128 tokens",
        "first 512": "cut after 512 tokens",
        "evidence pooling": "chunks weighed by attention (evidence pooling)",
        "hierarchical": "chunks related by an encoder layer, then weighed (hierarchical)",
        "whole text": "the whole text in one row",
    }
    seeds = sorted({row["seed"] for row in found["rows"]})
    settings, first = found["settings"], found["rows"][0]
    lines = [
        f"Sentiment of film reviews (mean over 700 tokens, at most {settings['max_tokens']:,} read): {first['num_train']:,} to train "
        f"on, {first['num_validation']} held out, from the quickstart's checkpoint, {settings['epochs']} epochs, {len(seeds)} seeds, on "
        f"one thread ({on_machine(found)}). Accuracy with its standard deviation over seeds; the sample of reviews adds one of "
        f"about {(0.75 * 0.25 / first['num_validation']) ** 0.5:.3f} to each run:",
        "",
        "| | accuracy | training | peak memory |",
        "|---|---:|---:|---:|",
    ]
    for reader, name in names.items():
        rows = [row for row in found["rows"] if row["reader"] == reader]
        if rows:
            seconds, memory = (
                statistics.median(row[key] for row in rows) for key in ("training_seconds", "peak_resident_bytes")
            )
            accuracy = spread([row["accuracy"] for row in rows])
            lines.append(f"| {name} | {accuracy} | {seconds:.0f} s | {memory / 2**30:.2f} GiB |")
    return "\n".join(lines)


def finetuning() -> str:
    """Time and score of a fine-tuning, beside the stock `Trainer`."""
    found = result("finetuning")
    names = {
        "stock": "stock `Trainer`, padded batches",
        "stock, bfloat16": "the same, bfloat16",
        "electra_plus": "`electra-plus finetune --dtype float32`",
        "electra_plus, bfloat16": "`electra-plus finetune` (bfloat16 by itself here)",
    }
    first = found["arms"]["stock"]["seconds"]
    lines = [
        f"{found['model']} fine-tuned on {found['train_rows']:,} sentences of SST-2 for {found['epochs']} epochs, with an evaluation on "
        f"{found['validation_rows']:,} and a checkpoint after each: seconds from rows in memory to the best epoch's score, median of "
        f"{found['rounds']} interleaved rounds with one seed each; speed against the stock `Trainer` of the same round, with its range "
        f"(a shared machine; {on_machine(found)}):",
        "",
        "| | seconds | speed | accuracy |",
        "|---|---:|---:|---:|",
    ]
    for arm, name in names.items():
        seconds = found["arms"][arm]["seconds"]
        ratios = [other / own for other, own in zip(first, seconds, strict=True)]
        lines.append(
            f"| {name} | {statistics.median(seconds):.0f} | {with_range(ratios)} | "
            f"{spread(found['arms'][arm]['accuracy'])} |"
        )
    return "\n".join(lines)


def example_scripts() -> str:
    """transformers' example scripts on our folder and on the stock one."""
    found = result("example_scripts")
    settings = found["settings"]
    names = {
        "run_glue.py": "sentiment (SST-2), accuracy",
        "run_ner.py": "entities (WikiAnn), F1",
        "run_qa.py": "answers (SQuAD 1.1), F1 in percent",
        "run_swag.py": "endings (COPA), accuracy",
    }
    versions = ", ".join(sorted({script["of_version"] for script in settings["scripts"].values()}))
    sizes = [settings["rows_of"][name][split] for split in ("train", "validation") for name in names]
    lines = [
        f"transformers' example scripts of version {versions} on {settings['model']}: the same command for the stock folder and for ours, "
        f"one epoch of {min(sizes[:4])} to {max(sizes[:4])} rows and {min(sizes[4:])} to {max(sizes[4:])} to score, one seed "
        f"({on_machine(found)}). `electra_plus` cannot be imported there:",
        "",
        "| script | task | stock folder | ours | runs unchanged |",
        "|---|---|---:|---:|---|",
    ]
    for name, task in names.items():
        rows = {row["folder"]: row for row in found["rows"] if row["script"] == name}
        cells = [f"{row['score']:.3f}" if "score" in row else row["error"] for row in (rows["stock"], rows["ours"])]
        runs = "yes" if rows["ours"].get("code_from_folder") else "no" if "score" in rows["stock"] else "neither does"
        lines.append(f"| `{name}` | {task} | {cells[0]} | {cells[1]} | {runs} |")
    return "\n".join(lines)


def onnx_runtime() -> str:
    """ONNX Runtime beside PyTorch."""
    found = result("onnx_runtime")
    lines = [
        f"A classifier with random weights, float32, one thread, processor time, median of {found['rounds']} interleaved rounds "
        f"(a machine shared with other work; {on_machine(found)}); {found['num_texts']} sentences through the pipeline. Speed as a multiple of PyTorch in the same round, with its range:",
        "",
        "| | | PyTorch, milliseconds | ONNX Runtime | speed |",
        "|---|---|---:|---:|---:|",
    ]
    for preset, measured in found["presets"].items():
        rows = [(f"{shape['rows']} x {shape['length']} tokens", shape["seconds"]) for shape in measured["shapes"]]
        for what, seconds in [*rows, ("pipeline", measured["pipeline"])]:
            medians = [f"{1000 * statistics.median(seconds[name]):,.0f}" for name in ("torch", "onnx")]
            speed = with_range([one / other for one, other in zip(seconds["torch"], seconds["onnx"], strict=True)])
            lines.append(f"| {preset} | {what} | {medians[0]} | {medians[1]} | {speed} |")
    largest = max(measured["largest_difference_of_answers"] for measured in found["presets"].values())
    return "\n".join([*lines, "", f"The largest difference of any answer's score is {largest:.0e}."])


def pipelines() -> str:
    """Our pipelines beside the stock ones."""
    found = result("pipelines")
    names = {
        "stock, batch size 1": "stock pipeline, batch size 1",
        "stock, batch size 8": "stock pipeline, batch size 8",
        "stock, batch size 32": "stock pipeline, batch size 32",
        "electra_plus, stock model": "electra_plus, stock model",
        "electra_plus, electra_plus model": "electra_plus, our model",
    }
    lines = [
        f"{found['num_texts']:,} sentences (`{found['texts']}`, {found['tokens'] / found['num_texts']:.0f} tokens on average), ELECTRA-small "
        f"with random weights, float32, median of {found['rounds']} interleaved rounds ({on_machine(found)}); speed as a multiple of the "
        "stock pipeline at its best batch size in the same round, with its range:",
        "",
        "| | | seconds | sentences a second | speed |",
        "|---|---|---:|---:|---:|",
    ]
    for task, measured in found["tasks"].items():
        for name, title in names.items():
            seconds, ratios = statistics.median(measured["seconds"][name]), measured["speed_ratio"][name]
            lines.append(
                f"| {task} | {title} | {seconds:.2f} | {found['num_texts'] / seconds:.0f} | {with_range(ratios)} |"
            )
    alone = [
        statistics.median(a / b for a, b in zip(one["stock"], one["electra_plus, electra_plus model"], strict=True))
        for one in (measured["seconds_alone"] for measured in found["tasks"].values())
    ]
    largest = max(measured["largest_difference"] for measured in found["tasks"].values())
    lines += [
        "",
        f"The largest difference of any score is {largest:.0e}. Sentences given one by one run at "
        f"{' and '.join(f'{speed:.2f}' for speed in alone)} times the speed of the stock pipelines.",
    ]
    return "\n".join(lines)


def augmentation() -> str:
    """What changed copies and mixup bring where rows are few."""
    found = result("augmentation")
    settings = found["settings"]
    names = {
        "none": "the rows alone",
        "delete": "`delete`",
        "swap": "`swap`",
        "synonyms": "`synonyms`, near words of the encoder's embeddings",
        "masked-lm": "`masked-lm`",
        "masked-lm, sure": f"`masked-lm`, `keep_sure: {settings['keep_sure']}`",
        "mixup": "`mixup: 0.4`",
    }
    sizes = [int(size) for size in settings["steps"]]
    measured = {(row["arm"], row["rows"], row["seed"]): row for row in found["rows"]}
    # a seed counts where all arms have it: they share its rows
    seeds = {
        size: [seed for seed in range(100) if all((arm, size, seed) in measured for arm in names)] for size in sizes
    }
    steps = ", ".join(f"{number} with {int(size):,} rows" for size, number in settings["steps"].items())
    heads = [f"{size:,} rows, {len(seeds[size])} seed{'s' if len(seeds[size]) > 1 else ''}" for size in sizes]
    lines = [
        f"{settings['model']} fine-tuned on sentiment (SST-2) from few rows, one copy of each row where there are copies, as many optimizer "
        f"steps for every arm ({steps}; batches of {settings['batch_size']}), the last weights scored; each seed draws rows, head and "
        f"order ({on_machine(found)}). Accuracy with its standard deviation over seeds, on {settings['test_phrases']:,} phrases, which "
        "neither contain a training row nor are contained in one, and on 436 whole sentences:",
        "",
        "| | " + " | ".join(f"{head}: phrases | sentences" for head in heads) + " |",
        "|---|" + "---:|" * (2 * len(sizes)),
    ]

    def values(arm: str, size: int, key: str) -> list[float]:
        return [measured[arm, size, seed][key] for seed in seeds[size]]

    for arm, name in names.items():
        cells = [spread(values(arm, size, test)) for size in sizes for test in ("phrases", "sentences")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Against the rows alone with the same seed, in points of accuracy on the phrases: mean, and range over seeds.",
        "",
        "| | " + " | ".join(heads) + f" | copies of {sizes[-1]:,} rows | left out |",
        "|---|" + "---:|" * (len(sizes) + 2),
    ]
    for arm, name in list(names.items())[1:]:
        cells = []
        for size in sizes:
            pairs = zip(values(arm, size, "phrases"), values("none", size, "phrases"), strict=True)
            points = [100 * (own - alone) for own, alone in pairs]
            cells.append(f"{statistics.mean(points):+.1f} ({min(points):+.1f} to {max(points):+.1f})")
        cells += [f"{statistics.mean(values(arm, sizes[-1], count)):,.0f}" for count in ("copies", "left_out")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def loading() -> str:
    """Time and memory of `from_pretrained` beside stock ELECTRA's."""
    found = result("loading")
    arms = {
        "stock": "stock `ElectraForPreTraining`",
        "ours": "electra_plus",
        "stock folder": "electra_plus, from the folder of the stock model",
    }
    sizes = {"small": "small (13.5 million)", "base": "base (110 million)"}
    measured = {(row["size"], row["arm"], row["round"]): row for row in found["rows"]}
    rounds = range(found["settings"]["rounds"])
    lines = [
        f"`from_pretrained` of a detector and one look at every weight, a fresh process for each of {len(rounds)} interleaved rounds, files in the "
        f"page cache; time as a multiple of stock's in the same round, with its range ({on_machine(found)}; a shared machine):",
        "",
        "| | " + " | ".join(f"{size}: seconds | time | growth of memory" for size in sizes.values()) + " |",
        "|---|" + "---:|" * (3 * len(sizes)),
    ]
    for arm, name in arms.items():
        cells = []
        for size in sizes:
            own, stock = ([measured[size, which, number] for number in rounds] for which in (arm, "stock"))
            ratios = [one["seconds"] / other["seconds"] for one, other in zip(own, stock, strict=True)]
            peak = statistics.median(row["peak_bytes"] for row in own) / 2**20
            cells += [f"{statistics.median(row['seconds'] for row in own):.3f}", with_range(ratios), f"{peak:.0f} MiB"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
