"""`roi-cls crops` and `roi-cls cache`: find, cut and keep faces; look at them; give space back.

For other packages: `command`.
"""
