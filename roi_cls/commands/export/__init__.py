"""`roi-cls export`."""
