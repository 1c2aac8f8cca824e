"""`roi-cls doctor`.

For other packages: `command`.
"""
