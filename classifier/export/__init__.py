"""A run handed on: an ONNX file, compared with the run, or a folder that timm loads.

For other packages: `onnx`, `own`, `parity`, `run`.
"""
