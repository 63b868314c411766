"""
The table of what works from where: rows, ways, and the question that each cell asks. README shows it; `test_reach.py` asks them.
"""

WAYS = {"package": "electra_plus installed", "trust": "`trust_remote_code=True`", "stock": "stock export"}
TEXT = "The film opens in a small town by the sea."
QUESTION = {"question": "Who sings?", "context": "Then the music stops and a child sings alone."}

# Title of a row -> way -> the questions behind the cell, each a function of `reach_elsewhere.py` with its arguments.
ALL = ("package", "trust", "stock")
OURS = ("package", "trust")


def cell(function: str, *arguments, **keywords):
    return function, arguments, keywords


def everywhere(*questions, ways=ALL):
    return dict.fromkeys(ways, questions)


REACH = {
    "`AutoModel`, tokenizer": everywhere(cell("loaded", "AutoModel", "encoder"), cell("tokenized", "encoder")),
    "`AutoModelForPreTraining`": {
        "package": (cell("loaded", "AutoModelForPreTraining", "joint"), cell("loaded", "AutoModelForPreTraining", "modern")),
        "trust": (cell("loaded", "AutoModelForPreTraining", "joint"), cell("loaded", "AutoModelForPreTraining", "modern")),
        # stock ELECTRA has the discriminator by this name, no joint model
        "stock": (cell("loaded", "AutoModelForPreTraining", "detector"),),
    },
    "the discriminator's encoder of a joint repository": everywhere(
        cell("loaded", "AutoModel", "joint"), ways=OURS
    ),
    "its discriminator, as a detector": {
        "package": (cell("detector", "ElectraPlusForReplacedTokenDetection", "joint"),),
        "trust": (cell("asked", "replaced-token-detection", "joint", TEXT),),  # the joint model is one, if nothing is masked
        "stock": (cell("detector", "ElectraForPreTraining", "joint"),),
    },
    "its generator, by `subfolder=\"generator\"`": everywhere(
        cell("loaded", "AutoModelForMaskedLM", "joint", subfolder="generator")
    ),
    "`AutoModelForMaskedLM`": everywhere(cell("loaded", "AutoModelForMaskedLM", "masked-lm")),
    "`AutoModelForCausalLM`": everywhere(cell("loaded", "AutoModelForCausalLM", "causal-lm")),
    "`AutoModelForSequenceClassification`": everywhere(
        cell("loaded", "AutoModelForSequenceClassification", "classifier"), cell("trained", "classifier")
    ),
    "`AutoModelForTokenClassification`": everywhere(cell("loaded", "AutoModelForTokenClassification", "tagger")),
    "`AutoModelForQuestionAnswering`": everywhere(cell("loaded", "AutoModelForQuestionAnswering", "answers")),
    "`AutoModelForMultipleChoice`": everywhere(cell("loaded", "AutoModelForMultipleChoice", "choice")),
    "classifier of long texts": everywhere(
        cell("loaded", "AutoModelForSequenceClassification", "reader"),
        cell("asked", None, "reader", " ".join([TEXT] * 9)),
        ways=OURS,
    ),
    "`AutoModelForSeq2SeqLM` (translators)": everywhere(cell("loaded", "AutoModelForSeq2SeqLM", "translator"), ways=OURS),
    "modern flavour": everywhere(
        cell("loaded", "AutoModelForSequenceClassification", "modern-classifier"),
        cell("asked", "text-classification", "modern-classifier", TEXT),
        ways=OURS,
    ),
    "pipelines of transformers, by name": everywhere(
        cell("asked", "text-classification", "classifier", TEXT),
        cell("asked", "token-classification", "tagger", TEXT),
        cell("asked", "fill-mask", "masked-lm", "The [MASK] opens."),
        cell("asked", "text-generation", "causal-lm", "The film", max_new_tokens=3, do_sample=False),
        cell("asked", "feature-extraction", "encoder", TEXT),
    ),
    "the same, told by the repository": everywhere(cell("asked", None, "classifier", TEXT), cell("asked", None, "tagger", TEXT)),
    "pipeline `question-answering`": everywhere(
        cell("asked", "question-answering", "answers", **QUESTION), cell("asked", None, "answers", **QUESTION), ways=OURS
    ),
    "pipeline `replaced-token-detection`": everywhere(
        cell("asked", "replaced-token-detection", "joint", TEXT), cell("asked", None, "detector", TEXT), ways=OURS
    ),
    "pipeline `translation`": everywhere(
        cell("asked", "translation", "translator", [TEXT], max_new_tokens=4), ways=OURS
    ),
}  # fmt: skip


def reach_table() -> str:
    """Return the table as markdown."""
    lines = ["| | " + " | ".join(WAYS.values()) + " |", "|---|" + ":---:|" * len(WAYS)]
    for title, cells in REACH.items():
        lines.append(f"| {title} | " + " | ".join("yes" if way in cells else "" for way in WAYS) + " |")
    return "\n".join(lines)
