"""Samples, labels, splits, crops: the first stage that sees a label.

For other packages: `archives`, `audit`, `collect`, `crops`, `near`, `picture_facts`, `review`,
`sample`, `split`, `table`, `units`, `walk`.
"""
