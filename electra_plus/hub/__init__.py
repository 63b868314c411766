"""Publishing: folders that anyone opens, with this package, with `trust_remote_code`, or with stock classes."""

from electra_plus.hub.callback import ModelCardCallback
from electra_plus.hub.carried_code import carry_code
from electra_plus.hub.publishing import push_to_hub, save_for_hub
from electra_plus.hub.pulling import pull
from electra_plus.hub.records import Dataset, Score, TrainingRecord

__all__ = [
    "Dataset",
    "ModelCardCallback",
    "Score",
    "TrainingRecord",
    "carry_code",
    "pull",
    "push_to_hub",
    "save_for_hub",
]
