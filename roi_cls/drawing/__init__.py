"""Pictures made for people: frames with faces, heat, pages of crops.

For other packages: `file`, `frame`, `heat`, `ink`, `page`, `sheet`.
"""
