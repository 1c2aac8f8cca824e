"""The demo set: labelled pictures of drawn people, some with a defect, by `draw.draw_demo`.

For other packages: `draw`.
"""
