"""Training recipes: one TOML file each. `classifier/recipe.py` reads them."""
