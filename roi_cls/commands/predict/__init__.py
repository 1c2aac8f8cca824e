"""`roi-cls predict`."""
