"""Checkpoints of other model types, programs and formats in, and classic ElectraPlus checkpoints out."""

from electra_plus.conversion.plan import ConversionPlan
from electra_plus.conversion.stock import from_stock, plan_from_stock, plan_to_stock, to_stock

__all__ = ["ConversionPlan", "from_stock", "plan_from_stock", "plan_to_stock", "to_stock"]
