"""
Writes the tables of the README and of `docs/` from `results/*.json`, between the markers of the same name.

    python benchmarks/tables.py           # rewrite the pages
    python benchmarks/tables.py --check   # exit 1 if one is out of date
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

from electra_plus.recipes.quickstart_report import gains

FOLDER = Path(__file__).parent
PAGES = (FOLDER.parent / "README.md", *sorted((FOLDER.parent / "docs").glob("*.md")))


def result(name: str) -> dict:
    """Read `results/<name>.json`."""
    return json.loads((FOLDER / "results" / f"{name}.json").read_text(encoding="utf-8"))


def on_machine(found: dict) -> str:
    """Say on what a result was measured."""
    machine = found["machine"]
    return (
        f"{machine['processor']}, {machine['threads']} threads, "
        f"torch {machine['torch']}, transformers {machine['transformers']}"
    )


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(set(values)) > 1 else "")


def costs() -> str:
    """One pretraining step, and the import."""
    step, imports = result("pretraining"), result("import_time")
    names = {
        "naive": "usual loop: stock halves, full logits, Gumbel noise",
        "electra-pytorch": "electra-pytorch 0.1.2 around the same halves",
        "electra_plus": "electra_plus, the paper's dropout",
        "electra_plus, no dropout": "electra_plus, no dropout",
        "electra_plus, compiled": "electra_plus, the paper's dropout, `torch.compile`",
        "electra_plus, no dropout, compiled": "electra_plus, no dropout, `torch.compile`",
        "naive, bfloat16": "usual loop, bfloat16",
        "electra_plus, bfloat16": "electra_plus, the paper's dropout, bfloat16",
        "electra_plus, no dropout, bfloat16": "electra_plus, no dropout, bfloat16",
    }
    tokens = step["rows"] * step["tokens_per_row"]
    lower, upper = imports["added_quartiles"]
    lines = [
        f"One optimizer step of joint pretraining, ELECTRA-small, {step['rows']} rows of {step['tokens_per_row']} tokens, "
        f"float32 unless it says bfloat16 (autocast), median of {step['rounds']} interleaved rounds ({on_machine(step)}); ratios to "
        "the usual loop's float32 step of the same round, with their range:",
        "",
        "| | seconds | tokens a second | speed | growth of memory |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, name in names.items():
        if kind in step["seconds"]:
            median, ratios = statistics.median(step["seconds"][kind]), step["speed_ratio"][kind]
            memory = step["resident_growth_bytes"].get(kind)
            lines.append(
                f"| {name} | {median:.2f} | {tokens / median:,.0f} | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}) | {f'{memory / 2**30:.2f} GiB' if memory else ''} |"
            )
    lines += [
        "",
        f"`import electra_plus` adds {imports['added_seconds']:.2f} s to the import of `transformers.AutoModel` "
        f"({statistics.median(imports['seconds']['transformers.AutoModel']):.1f} s here), median of {imports['rounds']} rounds of "
        f"which the middle half lies between {lower:.2f} and {upper:.2f} s.",
    ]
    return "\n".join(lines)


def quickstart() -> str:
    """What the main job gives, over its runs."""
    found = result("quickstart")
    runs = found["runs"]
    last = [run["curve"][-1] for run in runs]
    aucs, nats = ([point[name] for point in last] for name in ("auc", "generator_loss"))
    slowest = max(run["process_seconds"] for run in runs)
    lines = [
        f"What `make quickstart` gives, {len(runs)} runs with different seeds ({on_machine(found)}), the slowest "
        f"{slowest:.0f} s from start to end. On a book it never saw, the detector reaches an AUC of "
        f"{min(aucs):.3f} to {max(aucs):.3f} (chance is 0.5) against a generator of {min(nats):.2f} to {max(nats):.2f} nats a "
        "masked token: easy replacements, as a generator of this size makes them. Sentiment accuracy on sentences that the "
        "run did not see, mean and standard deviation over all draws of labelled sentences. The recipe was chosen among some "
        "two dozen by other draws from the same sentences, which favours it:",
        "",
        "| labelled sentences | | accuracy |",
        "|---:|---|---:|",
    ]
    for rows in zip(*(run["accuracies"] for run in runs), strict=True):
        accuracies = [accuracy for row in rows for accuracy in row["accuracies"]]
        lines.append(f"| {rows[0]['num_labels']:,} | {rows[0]['name']} | {spread(accuracies)} |")
    brought = [
        ", ".join(f"{100 * gain:+.1f}" for _, gain, _ in of_runs) + f" points at {of_runs[0][0]:,} labels"
        for of_runs in zip(*(gains(run["accuracies"]) for run in runs), strict=True)
    ]
    lines += ["", f"Run by run, pretraining brings {' and '.join(brought)}."]
    return "\n".join(lines)


def encoder() -> str:
    """The encoder's speed: long rows, packed rows, beside stock."""
    found = result("encoder")
    long, packed, classic = found["long"], found["packed"], found["classic"]
    names = {"modernbert": "stock ModernBERT, same width, depth and MLP", "electra_plus": "electra_plus, modern-small"}
    lines = [
        f"Forward pass over 8,192 tokens, float32, median of {long['rounds']} interleaved rounds ({on_machine(found)}):",
        "",
        "| | 16 rows of 512 | growth of memory | 1 row of 8,192 | growth of memory |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, name in names.items():
        short, row = (statistics.median(long["seconds"][f"{kind}, {shape}"]) for shape in ("16 x 512", "1 x 8192"))
        memory = [long["resident_growth_bytes"][f"{kind}, {shape}"] / 2**30 for shape in ("16 x 512", "1 x 8192")]
        lines.append(f"| {name} | {short:.2f} s | {memory[0]:.2f} GiB | {row:.2f} s | {memory[1]:.2f} GiB |")
    filling = statistics.mean(packed["small"]["real_tokens"]["padded"])
    speeds = [
        f"{statistics.median(packed[preset]['speed_ratio']):.1f} times with {preset}"
        for preset in ("small", "modern-small")
    ]
    lines += [
        "",
        f"Packing {packed['sentences']} sentences (mean {packed['mean_length']:.0f} tokens) into rows of {packed['row_length']} "
        f"instead of padding them to the longest, which leaves {filling:.0%} of the batch text, raises the real tokens a second "
        f"of a forward and backward pass {' and '.join(speeds)}.",
        "",
        "ELECTRA-small, 16 rows of 128 tokens, equal weights, speed as a multiple of stock transformers:",
        "",
        "| | forward | forward and backward |",
        "|---|---:|---:|",
    ]
    for kind in ("electra_plus", "stock, compiled", "electra_plus, compiled"):
        ratios = (statistics.median(classic[name]["speed_ratio"][kind]) for name in ("forward", "forward_backward"))
        lines.append("| {} | {:.2f} | {:.2f} |".format(kind.replace("compiled", "`torch.compile`"), *ratios))
    lines += [
        "",
        "Most of a step with gradients is matrix products, which are the same in both: at equal outputs in float32 there is little to "
        "win.",
    ]
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


def objectives() -> str:
    """What each objective gives in the same time."""
    found = result("objectives")
    arms = list(dict.fromkeys(row["arm"] for row in found["rows"]))
    seeds = sorted({row["seed"] for row in found["rows"]})
    lines = [
        f"Pretraining on English books, {found['settings']['seconds']:.0f} s of processor time on one thread for each row, tiny "
        f"models ({on_machine(found)}), then fine-tuning; mean and standard deviation over {len(seeds)} seeds, each a pretraining "
        "of its own. A detector's AUC is against its own generator, whose loss stands beside it, and, to compare, against the masked "
        "LM of the same seed:",
        "",
        "| | nats a masked token | AUC, own generator | AUC, masked LM | SST-2, accuracy | CoLA, Matthews correlation |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for arm in arms:
        rows = [row for row in found["rows"] if row["arm"] == arm]
        last = [row["curve"][-1] for row in rows if row["curve"]]
        nats = spread([point.get("generator_loss", point.get("masked_lm_loss")) for point in last]) if last else ""
        auc = spread([point["auc"] for point in last]) if last and "auc" in last[0] else ""
        common = [row["auc_against_masked_lm"] for row in rows if "auc_against_masked_lm" in row]
        scores = [spread([row[task] for row in rows]) for task in ("sst2", "cola")]
        lines.append(f"| {arm} | {nats} | {auc} | {spread(common) if common else ''} | {scores[0]} | {scores[1]} |")
    return "\n".join(lines)


def detection_start() -> str:
    """What changes how soon a detector learns."""
    found = result("detection_start")
    measured = {row["arm"] for row in found["rows"]}
    arms = [arm for arm in found["settings"]["arms"] if arm in measured]
    lines = [
        f"One change at a time to `modern RTD, weight 10`, {found['settings']['seconds']:.0f} s of processor time on one thread for each "
        f"row ({on_machine(found)}); mean and standard deviation over seeds (one where there is none), each a pretraining of its own. AUC "
        "against the detector's own generator, whose loss stands beside it, against the masked LM of the same time and seed, which no "
        "detector met, and against tokens drawn by their frequency; then fine-tuning as above:",
        "",
        "| | seeds | nats a masked token | AUC, own generator | AUC, masked LM | AUC, by frequency | SST-2 | CoLA |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for arm in arms:
        rows = [row for row in found["rows"] if row["arm"] == arm]
        last = [row["curve"][-1] for row in rows]
        nats = spread([point.get("generator_loss", point.get("masked_lm_loss")) for point in last])
        cells = [spread([point["auc"] for point in last]) if "auc" in last[0] else ""]
        for key in ("auc_against_masked_lm", "auc_against_frequency", "sst2", "cola"):
            values = [row[key] for row in rows if key in row]
            cells.append(spread(values) if values else "")
        lines.append(f"| {arm} | {len(rows)} | {nats} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def preparation() -> str:
    """What preparing a large corpus needs."""
    found = result("preparation")
    return "\n".join(
        f"`electra-plus prepare`, {row['options'][1]} process, {row['text_bytes'] / 1e9:.1f} GB of text made from books by repetition with "
        f"changed words: {row['tokens'] / 1e6:.0f} million tokens, {row['tokens_per_second']:,} a second (other programs ran meanwhile), "
        f"peak of resident memory {row['peak_resident_bytes_of_one_process'] / 1e6:.0f} MB, {row['padding_fraction']:.3%} padding "
        f"({on_machine(found)})."
        for row in found["rows"]
    )


def half_hour() -> str:
    """What half an hour of pretraining gives."""
    found = result("half_hour")
    settings = found["settings"]
    tokens = settings["rows_per_step"] * 128
    lines = [
        f"As many steps as {settings['seconds'] / 60:.0f} minutes on both cores hold at the speed measured beforehand (the training itself "
        f"shared the machine), {tokens:,} tokens a step, books and Wikipedia (20 million tokens), bfloat16, one seed ({on_machine(found)}). "
        "AUC and nats on held-out rows, AUC against the detector's own generator and against the masked LM of this table; BLiMP is the "
        f"mean over 54 paradigms of {settings['pairs']} pairs each, 0.5 is chance:",
        "",
        "| | tokens a second | steps | nats a masked token | AUC, own generator | AUC, masked LM | BLiMP, detector | BLiMP, pseudo-likelihood |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        speed = settings["steps"].get(row["arm"])
        cells = [
            f"{speed['tokens_per_second']:,.0f}" if speed else "",
            f"{speed['steps']:,}" if speed else "0",
            *(
                f"{value:.3f}" if value is not None else ""
                for value in (
                    row.get("generator_loss"),
                    row.get("auc"),
                    row.get("auc_against_masked_lm"),
                    row["blimp"].get("detector"),
                    row["blimp"].get("masked_lm"),
                )
            ),
        ]
        lines.append(f"| {row['arm']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def faults() -> str:
    """What survives kills, damage and a full disk."""
    found = result("faults")
    full = found["full_disk"]
    lines = [
        f"A run of `electra-plus pretrain` of {found['steps']} steps, compared with one that nothing happened to ({on_machine(found)}):",
        "",
        "| what happened | what was found |",
        "|---|---|",
        f"| {found['kills']} SIGKILLs at random moments, {found['while_writing']} of them while a checkpoint was being written, each "
        f"followed by the same command | {found['mismatches']} mismatches in losses and final weights, to the last bit |",
    ]
    for damage, seen in found["damage"].items():
        said = "left out, with the reason" if seen["left_out"] else "NOT noticed"
        lines.append(
            f"| latest checkpoint: {damage} | {said}; the end is {'equal' if seen['equal'] else 'NOT equal'} |"
        )
    lines.append(
        f"| a file cannot grow (as on a full disk) | exit status {full['exit_status']}, {'one line says why' if full['said'] else 'NOT said'}; "
        f"earlier checkpoints {'whole' if full['left_whole'] else 'NOT whole'}; with room again the end is "
        f"{'equal' if full['equal'] else 'NOT equal'} |"
    )
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
            f"| {name} | {statistics.median(seconds):.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
            f"{spread(found['arms'][arm]['accuracy'])} |"
        )
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


def gpu() -> str:
    """Steps on a GPU."""
    found = result("gpu_speed")
    machine = found["machine"]
    lines = [
        f"Optimizer steps of joint pretraining in bfloat16 autocast, on one {machine['device']} with {machine['cores']} processor cores "
        f"(torch {machine['torch']}, transformers {machine['transformers']}), median of interleaved rounds and their range. A large "
        f"product in bfloat16 reached {found['peak_flops'] / 1e12:.0f} TFLOP/s there; utilisation is the useful operations against that.",
        "",
        "| | milliseconds a step | tokens a second | utilisation | memory |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, model in found["models"].items():
        for arm, figures in model["arms"].items():
            times = [1000 * seconds for seconds in figures["seconds"]]
            memory = "" if "graphs" in arm else f"{figures['peak_bytes'] / 2**30:.1f} GiB"  # theirs is not counted
            lines.append(
                f"| {name}, {model['rows']} rows of {model['tokens_per_row']}: {arm} | {statistics.median(times):.1f} "
                f"({min(times):.1f} to {max(times):.1f}) | {figures['tokens_per_second']:,.0f} | "
                f"{figures['flops_utilization']:.3f} | {memory} |"
            )
    return "\n".join(lines)


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
                f"| {task} | {title} | {seconds:.2f} | {found['num_texts'] / seconds:.0f} | "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
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


# marker in a page: the table, and the results it is made of
TABLES = {
    "quickstart": (quickstart, ("quickstart",)),
    "benchmarks": (costs, ("pretraining", "import_time")),
    "encoder": (encoder, ("encoder",)),
    "long texts": (long_context, ("long_context",)),
    "objectives": (objectives, ("objectives",)),
    "detection start": (detection_start, ("detection_start",)),
    "preparation": (preparation, ("preparation",)),
    "half an hour": (half_hour, ("half_hour",)),
    "faults": (faults, ("faults",)),
    "augmentation": (augmentation, ("augmentation",)),
    "gpu": (gpu, ("gpu_speed",)),
    "fine-tuning": (finetuning, ("finetuning",)),
    "pipelines": (pipelines, ("pipelines",)),
}


def filled(pages: dict[Path, str]) -> dict[Path, str]:
    """Return the text of pages with every table in its place."""
    pages = dict(pages)
    for marker, (table, results) in TABLES.items():
        places = [page for page, text in pages.items() if f"<!-- {marker} -->" in text]
        if len(places) != 1:
            raise ValueError(f"One page must hold `<!-- {marker} -->`, found it in {[page.name for page in places]}.")
        if not all((FOLDER / "results" / f"{name}.json").exists() for name in results):
            continue  # not measured yet: the place stays as it is
        pattern = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
        pages[places[0]], count = re.subn(
            pattern,
            lambda match, table=table: f"{match[1]}{table()}\n{match[2]}",
            pages[places[0]],
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"{places[0].name} must hold `<!-- {marker} -->` and its end once, found {count}.")
    return pages


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    old = {page: page.read_text(encoding="utf-8") for page in PAGES}
    new = filled(old)
    for page, text in new.items():
        if text != old[page] and not check:
            page.write_text(text, encoding="utf-8")
    return int(check and new != old)


if __name__ == "__main__":
    sys.exit(main())
