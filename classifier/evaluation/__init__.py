"""A run judged on the test part, once. `run.evaluate_run` is the way in."""
