"""`roi-cls report`: what a run is worth, in one file that opens offline.

For other packages: `command`.
"""
