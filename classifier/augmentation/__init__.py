"""Training crops changed at random, mixed, and spoiled with synthetic defects.

For other packages: `augment`, `face_map`, `spoil`.
"""
