"""Why a model answers as it does. `explain.Explainer` is the way in.

For other packages: `explain`, `heat`.
"""
