"""`roi-cls train`, `evaluate` and `verify`.

For other packages: `command`.
"""
