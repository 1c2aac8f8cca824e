"""What people name, as pictures: files, folders, tables, web pictures, videos, standard input.

For other packages: `arguments`, `names`, `sources`.
"""
