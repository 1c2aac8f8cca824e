"""A run judged on the test part, once. `run.evaluate_run` is the way in.

For other packages: `evaluation`, `grouping`, `groups`, `label_review`, `panels`, `pictures`, `run`,
`summary`, `table`.
"""
