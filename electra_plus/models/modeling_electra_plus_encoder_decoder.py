"""
An encoder-decoder of two models of this package, for processes that have only the files of its folder.

Where the package is installed, `transformers.EncoderDecoderModel` does it all, since both halves are registered. Elsewhere
transformers reads the configuration of a folder before any of its code, and stops at halves whose model type it does not
know. The classes here are what such a folder names instead: they build the halves from the files beside them.
"""

from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderConfig, EncoderDecoderModel

from .configuration_electra_plus import ElectraPlusConfig
from .modeling_electra_plus import ElectraPlusModel
from .modeling_electra_plus_causal import ElectraPlusForCausalLM


class ElectraPlusEncoderDecoderConfig(EncoderDecoderConfig):
    """
    [`~transformers.EncoderDecoderConfig`] that knows the halves of this package by itself. Same fields, same `config.json`.

    Example:

    >>> half = ElectraPlusConfig.preset("modern-tiny", generator_config=None).to_dict()
    >>> type(ElectraPlusEncoderDecoderConfig(encoder=half, decoder=half).decoder).__name__
    'ElectraPlusConfig'
    """

    def __post_init__(self, **kwargs):
        for name in ("encoder", "decoder"):
            half = getattr(self, name)
            if isinstance(half, dict) and half.get("model_type") == ElectraPlusConfig.model_type:
                setattr(self, name, ElectraPlusConfig(**half))
        super().__post_init__(**kwargs)


class ElectraPlusEncoderDecoderModel(EncoderDecoderModel):
    """[`~transformers.EncoderDecoderModel`] under that configuration. Same weights by the same names."""

    config_class = ElectraPlusEncoderDecoderConfig


# By the class, not by the model type: what an installed package has registered stays as it is.
AutoModel.register(ElectraPlusConfig, ElectraPlusModel, exist_ok=True)
AutoModelForCausalLM.register(ElectraPlusConfig, ElectraPlusForCausalLM, exist_ok=True)
