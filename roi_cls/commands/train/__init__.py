"""`roi-cls train`, `evaluate` and `verify`."""
