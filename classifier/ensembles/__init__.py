"""Runs of several models: trained together or joined, and how their scores become one.

For other packages: `join`, `train`.
"""
