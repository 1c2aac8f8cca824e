"""How faces are looked for: the networks, their files, and the order in which they are asked.

For other packages: `detector`, `models`.
"""
