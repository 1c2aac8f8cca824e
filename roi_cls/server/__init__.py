"""The HTTP server of `roi-cls serve`: requests in, the command line's answers out."""
