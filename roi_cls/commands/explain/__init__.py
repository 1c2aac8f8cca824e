"""`roi-cls explain`."""
