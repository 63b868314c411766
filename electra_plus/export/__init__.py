"""Models for other runtimes: folders that ONNX Runtime computes."""

from electra_plus.export.onnx_folder import export_onnx

__all__ = ["export_onnx"]
