"""Tables of pretraining and of what an encoder costs, for `tables.py`."""

import statistics

from table_parts import on_machine, result, spread, with_range

from electra_plus.recipes.quickstart_report import gains


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
                f"| {name} | {median:.2f} | {tokens / median:,.0f} | {with_range(ratios)} | {f'{memory / 2**30:.2f} GiB' if memory else ''} |"
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


def gpu_models() -> str:
    """What minutes on a GPU make of a small model."""
    classic = result("gpu_pretraining")
    machine, seen = classic["machine"], classic["held_out"]
    lines = [
        f"Small models on one {machine['device']}, through `ElectraPlusTrainer`, from random weights (torch {machine['torch']}, "
        f"transformers {machine['transformers']}), rows of 128 tokens, bfloat16:",
        "",
        "| | text | steps | rows a step | minutes | tokens a second | held out: nats a masked token | AUC of the detector |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        f"| classic small as in the paper, warm-up over 800 steps, CUDA graphs | English | {classic['steps']:,} | 128 | "
        f"{classic['steps'] * 128 * 128 / classic['median_tokens_per_second'] / 60:.1f} | {classic['median_tokens_per_second']:,.0f} | "
        f"{seen['eval_generator_loss']:.2f} | {seen['eval_auc']:.3f} |",
    ]
    for language in ("english", "chinese"):
        found = result(f"gpu_masked_lm_{language}")
        speeds = [entry["tokens_per_second"] for entry in found["log"] if "tokens_per_second" in entry]
        minutes = next(entry["train_runtime"] for entry in found["log"] if "train_runtime" in entry) / 60
        lines.append(
            f"| masked LM, 6 layers of 384 | {language.title()} | {found['steps']:,} | {found['rows']} | {minutes:.1f} | "
            f"{statistics.median(speeds):,.0f} | {found['held_out']['eval_loss']:.2f} | |"
        )
    return "\n".join(lines)
