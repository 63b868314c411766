"""Publishing: folders that anyone opens, with this package, with `trust_remote_code`, or with stock classes."""

from electra_plus.hub.carried_code import carry_code

__all__ = ["carry_code"]
