"""A model that ONNX Runtime computes, in the form in which pipelines take one."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import ModelOutput

ONNX_FILE = "model.onnx"
WRITING_TASKS = ("text-generation", "machine-translation")  # token by token, for which a graph of scores is too little


def is_onnx_folder(name: Any) -> bool:
    """Whether a folder was written by [`electra_plus.export.export_onnx`]."""
    return isinstance(name, (str, Path)) and (Path(name) / ONNX_FILE).is_file()


def needs_onnx(*packages: str) -> None:
    """Raise `ImportError` if one of the packages is missing, and say how to install them."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(f"ONNX needs the package {missing[0]}: `pip install 'electra-plus[onnx]'`.")


class OnnxModel:
    """
    Scores of an ONNX graph, by the call of a PyTorch model.

    It has what pipelines ask of a model and no weights of torch. Several threads may call it at once.

    Args:
        session (`onnxruntime.InferenceSession`): The graph.
        config ([`PreTrainedConfig`]): Of the model it was made from.
        name_or_path (`str`, *optional*, defaults to `""`): The folder.
    """

    main_input_name = "input_ids"
    input_modalities = ("text",)
    device = torch.device("cpu")  # of the tensors given and returned, whatever computes the graph

    def __init__(self, session, config: PreTrainedConfig, name_or_path: str = ""):
        self.session = session
        self.config = config
        self.name_or_path = name_or_path
        self.inputs = tuple(given.name for given in session.get_inputs())
        self.outputs = tuple(score.name for score in session.get_outputs())
        self.dtype = torch.float16 if session.get_outputs()[0].type == "tensor(float16)" else torch.float32

    @classmethod
    def from_pretrained(cls, folder: str | Path, providers: list[str] | None = None) -> "OnnxModel":
        """
        Open a folder that [`electra_plus.export.export_onnx`] wrote.

        Args:
            folder (`str` or `Path`): With `model.onnx` and `config.json`.
            providers (`list[str]`, *optional*):
                What computes the graph, as ONNX Runtime names it, such as `["CUDAExecutionProvider"]`. `None` is the processor,
                with as many threads as torch has.

        Raises:
            FileNotFoundError: The folder has no `model.onnx`.
            ImportError: The extra `onnx` is missing.
        """
        if not is_onnx_folder(folder):
            raise FileNotFoundError(
                f"`folder` must hold a {ONNX_FILE}, got {str(folder)!r}, which has none. Write one with `electra-plus export`."
            )
        needs_onnx("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # threads that wait in a loop take the processor from those of the pipeline
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only
        session = onnxruntime.InferenceSession(
            str(Path(folder) / ONNX_FILE), options, providers=providers or ["CPUExecutionProvider"]
        )
        config = AutoConfig.from_pretrained(str(folder))
        # pipelines look whether the class by this name suits their task
        named = type((config.architectures or [cls.__name__])[0], (cls,), {"__doc__": cls.__doc__})
        return named(session, config, str(folder))

    def __call__(self, *args, **kwargs) -> ModelOutput:
        return self.forward(*args, **kwargs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> ModelOutput:
        r"""
        Score a batch.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, or `(batch_size, num_choices, sequence_length)`)
            attention_mask (`torch.Tensor` of that shape, *optional*): 1 for tokens, 0 for padding. `None` means no padding.
            token_type_ids (`torch.LongTensor` of that shape, *optional*): Segment ids. `None` is segment 0.

        Returns:
            [`~transformers.utils.ModelOutput`]: the scores by their names, on the processor.

        Raises:
            ValueError: `token_type_ids` for a graph that has no such input.
        """
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        defaults = {"attention_mask": torch.ones_like, "token_type_ids": torch.zeros_like}
        feed = {}
        for name, value in given.items():
            if name not in self.inputs:
                if value is not None:
                    raise ValueError(f"The graph has no input `{name}`, only {list(self.inputs)}. Leave it out.")
                continue
            value = defaults[name](input_ids) if value is None else value
            feed[name] = value.long().cpu().numpy()
        scores = self.session.run(list(self.outputs), feed)
        return ModelOutput({name: torch.from_numpy(score) for name, score in zip(self.outputs, scores, strict=True)})

    def to(self, *args, **kwargs) -> "OnnxModel":
        """Return the model as it is: `providers` say what computes it."""
        return self

    def eval(self) -> "OnnxModel":
        """Return the model as it is: a graph does not train."""
        return self

    def can_generate(self) -> bool:
        return False


def folder_arguments(task: str | None, folder: str | Path, given: dict[str, Any]) -> dict[str, Any]:
    """
    Return what `transformers.pipeline` needs for a folder with a graph: the model, its tokenizer and the device.

    Args:
        task (`str` or `None`): Of the pipeline.
        folder (`str` or `Path`): As for [`OnnxModel.from_pretrained`].
        given (`dict`): The caller's arguments, which come first.

    Raises:
        ValueError: The task writes text, or none is given.
    """
    if task is None or task in WRITING_TASKS:
        raise ValueError(
            f"`task` must be one that scores text, such as 'text-classification', for a folder with a {ONNX_FILE}, got "
            f"{task!r}. For any other open the folder that it was exported from."
        )
    return {"tokenizer": str(folder), "device": "cpu", **given, "model": OnnxModel.from_pretrained(folder)}
