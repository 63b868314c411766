"""
How much memory and time does `electra-plus prepare` need, and how much padding is left?

A corpus of the size asked for is made of a folder's text files: their documents again and again, in each round with other
words in a fiftieth of the places, so that no two documents are equal. `electra-plus prepare` then runs in a fresh process
without and with several processes. Four times a second it is looked at what it and its workers need: the peak of the resident
set of each, as the kernel keeps it, and what all need together, where pages that several share count once (PSS; Linux).

    python benchmarks/preparation.py --texts books/ --gigabytes 1
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from machine import save_result

from electra_plus.data.corpus import read_documents

CHANGED_FRACTION = 0.02
SECONDS_BETWEEN_LOOKS = 0.25


def changed_documents(folder: str, seed: int) -> Iterator[list[str]]:
    """Yield the documents of a folder, in pieces of up to a hundred paragraphs, with words moved around in each."""
    rng = random.Random(seed)
    for document in read_documents([folder]):
        for start in range(0, len(document), 100):
            piece = [paragraph.split() for paragraph in document[start : start + 100]]
            places = [(line, word) for line, words in enumerate(piece) for word in range(len(words))]
            chosen = rng.sample(places, max(1, int(CHANGED_FRACTION * len(places))))
            for (line, word), (other_line, other) in zip(chosen, rng.sample(places, len(chosen)), strict=True):
                piece[line][word] = piece[other_line][other]
            yield [" ".join(words) for words in piece]


def write_corpus(folder: str, file: Path, size: int) -> int:
    """Write at least `size` bytes of text; return how many were written."""
    written = seed = 0
    with file.open("w", encoding="utf-8") as output:
        while written < size:
            for document in changed_documents(folder, seed):
                written += len(("\n".join(document) + "\n\n").encode())
                output.write("\n".join(document) + "\n\n")
                if written >= size:
                    break
            seed += 1
    return written


def memory_of(process: psutil.Process) -> dict[int, tuple[int, int]]:
    """Return for a process and each of its workers the peak of the resident set so far, and the proportional set now."""
    found = {}
    for one in [process, *process.children(recursive=True)]:
        try:
            status = Path(f"/proc/{one.pid}/status").read_text(encoding="utf-8")
            rollup = Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:  # it has ended meanwhile
            continue
        figures = [re.search(rf"^{name}:\s+(\d+)", text, re.M) for name, text in (("VmHWM", status), ("Pss", rollup))]
        if all(figures):
            found[one.pid] = tuple(int(figure[1]) * 1024 for figure in figures)
    return found


def measure(corpus: Path, size: int, output: Path, options: list[str]) -> dict:
    """Run `electra-plus prepare` in a fresh process and look at its memory."""
    command = [sys.executable, "-m", "electra_plus", "prepare", "--input", str(corpus), "--output", str(output)]
    started = time.perf_counter()
    run = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    process = psutil.Process(run.pid)
    largest = together = 0
    while run.poll() is None:
        memory = memory_of(process).values()
        largest = max([largest, *(peak for peak, _ in memory)])
        together = max(together, sum(now for _, now in memory))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    seconds = time.perf_counter() - started
    if run.returncode:
        raise SystemExit(f"prepare failed with {run.returncode}")
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    tokens = sum(manifest[part]["tokens"] for part in ("train", "held_out"))
    return {
        "options": options,
        "text_bytes": size,
        "seconds": round(seconds, 1),
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds),
        "peak_resident_bytes_of_one_process": largest,
        "peak_proportional_bytes_of_all": together,
        "padding_fraction": manifest["train"]["padding_fraction"],
        "documents": manifest["documents_read"],
        "duplicates": manifest["duplicates_dropped"],
    }


def main() -> None:
    """Make the corpus, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", required=True, help="folder of text files the corpus is made of")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the corpus (default: %(default)s)")
    parser.add_argument("--num-proc", type=int, nargs="+", default=[1, 2], help="processes (default: %(default)s)")
    parser.add_argument("--row-length", type=int, default=128, help="tokens in a row (default: %(default)s)")
    parser.add_argument("--rule", default="documents", help="how rows are made (default: %(default)s)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus.txt")
        size = write_corpus(options.texts, corpus, int(options.gigabytes * 1e9))
        for number in options.num_proc:
            flags = ["--num-proc", str(number), "--row-length", str(options.row_length), "--rule", options.rule]
            rows.append(measure(corpus, size, Path(folder, f"prepared-{number}"), flags))
            print(json.dumps(rows[-1], indent=1), flush=True)
    if not options.no_save:
        print(save_result("preparation", {"texts": Path(options.texts).name, "rows": rows}))


if __name__ == "__main__":
    main()
