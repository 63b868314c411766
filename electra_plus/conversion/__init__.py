"""Checkpoints of other model types: stock ELECTRA and BERT in and out."""

from electra_plus.conversion.stock import from_stock, to_stock

__all__ = ["from_stock", "to_stock"]
