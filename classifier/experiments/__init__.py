"""Systems compared on the same pictures, split and budget."""
