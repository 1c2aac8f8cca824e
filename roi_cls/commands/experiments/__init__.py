"""`roi-cls compare`, `ablate`, `ensemble` and `recipes`.

For other packages: `command`.
"""
