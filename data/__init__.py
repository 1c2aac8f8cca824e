"""Samples, labels, splits, tensors: the first stage that sees a label."""
