"""
Runs in a process of its own: opens repositories of a Hub in one of three ways, and prints what it found as json.

`python reach_elsewhere.py WAY` with WAY `package` (this package, no flag), `trust` (transformers and the code in the repository) or
`stock` (transformers alone, native models). In the last two this package cannot be imported.
"""

import hashlib
import json
import sys

WAY = sys.argv[1]


class Without:
    """Finds nothing where this package would be."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "electra_plus":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if WAY != "package":
    sys.meta_path.insert(0, Without())

import torch  # noqa: E402
import transformers  # noqa: E402

PREFIX = "me/stock-" if WAY == "stock" else "me/"
FLAG = {"trust_remote_code": True} if WAY == "trust" else {}
IDS = torch.tensor([[2, 7, 9, 11, 3]])
TEXT = "The film opens in a small town by the sea."
pipeline = transformers.pipeline
if WAY == "package":
    import electra_plus

    pipeline = electra_plus.pipeline


def digest(model) -> str:
    """A name for the exact bits of all weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def loaded(auto: str, repo: str, **more):
    """Open a repository by an Auto class, or by the class itself; no weight may be missing."""
    where = transformers if hasattr(transformers, auto) else electra_plus
    model, info = getattr(where, auto).from_pretrained(PREFIX + repo, output_loading_info=True, **FLAG, **more)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    return digest(model)


def detector(name: str, repo: str):
    """Open the discriminator of a joint repository by its class."""
    return loaded(name, repo)


def asked(task: str | None, repo: str, *arguments, **keywords):
    """Ask a pipeline."""
    return pipeline(task, model=PREFIX + repo, device="cpu", **FLAG)(*arguments, **keywords)


def trained(repo: str):
    """Take a step with the stock Trainer on a head of the repository."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(PREFIX + repo, **FLAG)
    arguments = transformers.TrainingArguments(
        "trained", max_steps=1, report_to="none", disable_tqdm=True, use_cpu=True, save_strategy="no"
    )
    rows = [{"input_ids": IDS[0], "labels": 1}] * 2
    return transformers.Trainer(model, arguments, train_dataset=rows).train().training_loss > 0


def tokenized(repo: str):
    """Tokenize by the repository's tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(PREFIX + repo)(TEXT)["input_ids"]


answers = {}
for name, (function, arguments, keywords) in json.loads(sys.stdin.read()).items():
    try:
        answers[name] = globals()[function](*arguments, **keywords)
    except Exception as error:
        answers[name] = f"{type(error).__name__}: {error}"
assert WAY == "package" or not any(name.split(".")[0] == "electra_plus" for name in sys.modules)
print(json.dumps(answers, default=float))
