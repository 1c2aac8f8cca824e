"""`roi-cls compare`, `ablate`, `ensemble` and `recipes`."""
