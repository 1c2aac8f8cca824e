"""What all commands share: options, words, progress, which run is meant."""
