"""A folder per command: `command.py` has the options, `run.py` the work."""
