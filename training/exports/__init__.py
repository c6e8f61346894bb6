"""Worlds for other programs: ONNX models."""
