"""Training recipes: one TOML file each. `classifier/training_recipe.py` reads them."""
