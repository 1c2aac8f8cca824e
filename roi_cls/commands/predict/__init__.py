"""`roi-cls predict`.

For other packages: `command`.
"""
