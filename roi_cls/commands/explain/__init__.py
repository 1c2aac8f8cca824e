"""`roi-cls explain`.

For other packages: `command`.
"""
