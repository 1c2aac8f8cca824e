"""What all commands share: options, words, progress, which run is meant.

For other packages: `arguments`, `cropping`, `fields`, `terminal`, `training`, `words`.
"""
