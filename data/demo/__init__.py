"""The drawn demo set: labelled pictures of drawn people, some with a defect. `draw.draw_demo` makes it."""
