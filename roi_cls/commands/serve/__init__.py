"""`roi-cls serve`: the HTTP server, requests in, the command line's answers out.

For other packages: `command`.
"""
