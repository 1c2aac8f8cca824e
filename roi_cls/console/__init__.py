"""What all commands share: options, words, progress, which run is meant.

For other packages: `arguments`, `fields`, `terminal`, `training`, `words`.
"""
