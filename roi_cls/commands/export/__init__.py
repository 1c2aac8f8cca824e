"""`roi-cls export`.

For other packages: `command`.
"""
