"""Train, evaluate, predict.

For other packages: `config`, `recipe`.
"""
