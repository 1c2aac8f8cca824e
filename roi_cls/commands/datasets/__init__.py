"""`roi-cls data`: draw, audit and correct data sets.

For other packages: `command`.
"""
