"""What all commands share: options, words, progress, which run is meant.

For other packages: `arguments`, `cropping`, `fields`, `help`, `terminal`, `training`, `words`.
"""
