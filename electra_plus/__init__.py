"""
electra_plus: pretrain, fine-tune and publish ELECTRA models inside the Hugging Face ecosystem.

Importing the package registers its models with transformers' Auto classes. Training and data tools load on first use.
"""

from importlib import import_module

from electra_plus.models.configuration_electra_plus import ElectraPlusConfig
from electra_plus.registration import HEADS, register
from electra_plus.version import __version__

register()
globals().update({head.model_class.__name__: head.model_class for head in HEADS})

_LAZY = {
    "DataCollatorForReplacedTokenDetection": "electra_plus.data.masking",
}

__all__ = ["ElectraPlusConfig", "__version__", "register", *(head.model_class.__name__ for head in HEADS), *_LAZY]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'electra_plus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))
