"""Training a run: its job, data, batches, the loop, its record. `run.train_run` is the way in.

For other packages: `data`, `distributed`, `job`, `logs`, `record`, `run`.
"""
