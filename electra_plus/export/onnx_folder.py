"""
A checkpoint as an ONNX graph: traced once, for batches and rows of any size, compared with the original, written whole.

The graph takes what the tokenizer gives and returns the scores of the head. Nothing of PyTorch is needed to compute it.
"""

import inspect
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from electra_plus.export.parity import TOLERANCES, largest_difference, longest_row, random_batch
from electra_plus.folders import copy_tokenizer, finished_folder, read_config
from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.pipelines import AutoModelForReplacedTokenDetection
from electra_plus.pipelines.onnx_model import ONNX_FILE, OnnxModel, needs_onnx
from electra_plus.registration import load_model_classes

# What a checkpoint with several networks is exported for; without a task its own head is.
TASKS: dict[str, str | type] = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "replaced-token-detection": AutoModelForReplacedTokenDetection,
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "extractive-qa": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForMultipleChoice",
}
DTYPES = {"float32": torch.float32, "float16": torch.float16}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FIRST_OPSET = 18  # torch's exporter writes it, and rewrites its graph for later ones
NO_GRAPH = {
    "ElectraPlusForLongSequenceClassification": "how many chunks it reads depends on the text, which a graph cannot say. "
    "Export a classifier that reads rows: pipelines read long texts in chunks with it too",
}
CODE_FIELDS = ("auto_map", "custom_pipelines")  # of config.json: files that the new folder has not got


def export_onnx(
    model: str | Path,
    output_dir: str | Path,
    task: str | None = None,
    opset: int | None = None,
    dtype: str = "float32",
    check: bool = True,
    overwrite: bool = False,
) -> dict[str, Any]:
    r"""
    Write a folder that ONNX Runtime computes and [`electra_plus.pipeline`] opens: `model.onnx`, `config.json`, the tokenizer.

    Args:
        model (`str` or `Path`): Folder or Hub name of an encoder with or without a head, ours or of transformers.
        output_dir (`str` or `Path`): Folder to write, completely or not at all.
        task (`str`, *optional*):
            Which network of a checkpoint that has several, a key of `TASKS`. `None` is the head that the checkpoint was saved
            with, of a joint one the detector.
        opset (`int`, *optional*): Version of ONNX's operators, at least 18. `None` leaves it to torch.
        dtype (`str`, *optional*, defaults to `"float32"`): Of weights and scores: `"float32"`, or `"float16"` for GPUs.
        check (`bool`, *optional*, defaults to `True`):
            Compare the graph with the float32 model on batches of 1 to 3 rows of 1 token to several hundred, with and without
            padding, and write nothing if a score differs by more than 1e-4 (float16: 0.05).
        overwrite (`bool`, *optional*, defaults to `False`): Replace `output_dir` with all it holds.

    Returns:
        `dict`: `class` (of the model), `inputs` and `outputs` of the graph, `bytes` of all its files, and
        `largest_difference` of any score (`None` without check).

    Raises:
        ValueError: The model has no such head, or one that makes no graph; or the graph computes something else.
        ImportError: The extra `onnx` is missing.
    """
    needs_onnx("onnx", "onnxscript", *(["onnxruntime"] if check else []))
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be one of {list(DTYPES)}, got {dtype!r}.")
    if opset is not None and opset < FIRST_OPSET:
        raise ValueError(f"`opset` must be at least {FIRST_OPSET}, got {opset}. Or leave it out.")
    original = _load(model, task)
    class_name = type(original).__name__
    inputs = tuple(name for name in INPUTS if name in inspect.signature(original.forward).parameters)
    example = random_batch(original, inputs, batch_size=2, length=longest_row(original, 24), padded=True)
    with torch.no_grad():
        outputs = tuple(name for name, value in original(**example).items() if isinstance(value, Tensor))
    difference = None
    with finished_folder(output_dir, overwrite, model) as unfinished:
        unfinished.mkdir(parents=True)
        _write_graph(original, inputs, outputs, example, unfinished / ONNX_FILE, opset, DTYPES[dtype])
        _write_config(original, unfinished, dtype)
        copy_tokenizer([model], unfinished)
        size = sum(file.stat().st_size for file in unfinished.glob(f"{ONNX_FILE}*"))
        if check:
            difference = largest_difference(original, OnnxModel.from_pretrained(unfinished))
            if not difference <= TOLERANCES[dtype]:  # NaN is refused as well
                raise ValueError(
                    f"The graph of `model` ({str(model)!r}) differs from the model by up to {difference:.2g}, more than "
                    f"{TOLERANCES[dtype]}. Nothing was written. `check=False` (`--no-check`) writes it all the same."
                )
    return {
        "class": class_name,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "bytes": size,
        "largest_difference": difference,
    }


def _load(name: str | Path, task: str | None) -> PreTrainedModel:
    """Return the float32 model of a checkpoint, in eval mode, and refuse what makes no graph or has no trained head."""
    fields = read_config(name, "model")
    architectures = fields.get("architectures") or []
    if fields.get("is_encoder_decoder"):
        raise ValueError(
            f"`model` ({str(name)!r}) is an encoder-decoder, whose decoder would need graphs for its first and its later "
            "tokens. Only encoders and single decoders are exported; run it with PyTorch."
        )
    if fields.get("quantization_config"):
        raise ValueError(
            f"`model` ({str(name)!r}) is quantized, and its operators have no ONNX form. Export the folder it was made from."
        )
    if task is not None:
        if task not in TASKS:
            raise ValueError(f"`task` must be one of {list(TASKS)}, got {task!r}.")
        loader = TASKS[task] if isinstance(TASKS[task], type) else getattr(transformers, TASKS[task])
    elif architectures == ["ElectraPlusForPreTraining"]:
        loader = AutoModelForReplacedTokenDetection
    elif len(architectures) == 1:
        ours = load_model_classes() if fields.get("model_type") == ElectraPlusConfig.model_type else {}
        loader = ours.get(architectures[0]) or getattr(transformers, architectures[0], None)
    else:
        loader = None
    if loader is None:
        raise ValueError(
            f"`model` ({str(name)!r}) was saved as {' or '.join(architectures) or 'no class'}, which neither this package nor "
            f"transformers has. Say what it is for: `task` (`--task`), one of {list(TASKS)}."
        )
    model, report = loader.from_pretrained(str(name), dtype=torch.float32, output_loading_info=True)
    class_name = type(model).__name__
    if class_name in NO_GRAPH:
        raise ValueError(f"`model` ({str(name)!r}) is {class_name}: {NO_GRAPH[class_name]}.")
    if report["missing_keys"]:
        raise ValueError(
            f"`model` ({str(name)!r}) has no trained weights for {class_name}: {sorted(report['missing_keys'])[0]} is missing. "
            "Fine-tune it first, or choose another `task`."
        )
    return model.eval()


class _NamedScores(nn.Module):
    """A model whose outputs are a tuple of the tensors asked for, as a graph has them."""

    def __init__(self, model: PreTrainedModel, outputs: tuple[str, ...]):
        super().__init__()
        self.model = model
        self.outputs = outputs
        takes_cache = "use_cache" in inspect.signature(model.forward).parameters
        self.arguments = {"use_cache": False} if takes_cache else {}

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        given = {name: value for name, value in given.items() if value is not None}
        scores = self.model(input_ids=input_ids, **given, **self.arguments)
        return tuple(scores[name] for name in self.outputs)


def _write_graph(
    model: PreTrainedModel,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    example: dict[str, Tensor],
    path: Path,
    opset: int | None,
    dtype: torch.dtype,
) -> None:
    """Trace a model and write its graph; with `dtype` float16 a copy of it."""
    traced = _NamedScores(model, outputs).eval()
    if dtype != torch.float32:
        traced = _NamedScores(type(model)(model.config).to(dtype), outputs).eval()
        traced.model.load_state_dict(model.state_dict())
    names = ("batch_size", "num_choices", "sequence_length")
    names = names if example["input_ids"].dim() == 3 else (names[0], names[-1])
    with _quiet(), torch.no_grad():
        try:
            graph = torch.onnx.export(
                traced,
                kwargs=example,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes={name: dict(enumerate(names)) for name in inputs},
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = error.__cause__ or error
            raise ValueError(
                f"torch makes no graph of {type(model).__name__}: {type(cause).__name__}: {str(cause).strip().splitlines()[0]}"
            ) from error
        graph.save(path)  # weights of more than 2 GB in a file beside it


def _write_config(model: PreTrainedModel, folder: Path, dtype: str) -> None:
    model.config.save_pretrained(folder)
    path = folder / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields = {name: value for name, value in fields.items() if name not in CODE_FIELDS}
    fields |= {"architectures": [type(model).__name__], "dtype": dtype}
    path.write_text(json.dumps(fields, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter on packages that are not there and on axes that have one name."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
