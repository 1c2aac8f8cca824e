"""The methods of training, one a file. `fit.fit_model` takes the one that is asked for.

For other packages: `fit`.
"""
