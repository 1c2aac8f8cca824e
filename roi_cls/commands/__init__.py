"""A folder per command: `command.py` has the options, `run.py`, or a file per command, the work."""
