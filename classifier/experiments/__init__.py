"""Systems compared on the same pictures, split and budget.

For other packages: `ablate`, `compare`, `comparison`, `space`, `study`, `trial`, `tune`,
`tuning`.
"""
