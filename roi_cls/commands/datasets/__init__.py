"""`roi-cls data`: draw, audit and correct data sets."""
