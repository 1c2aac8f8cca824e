"""What a run keeps: its folder, its bundle, its scores, how often its test part was opened.

For other packages: `bundle`, `ensemble`, `folder`, `openings`, `scores`, `writing`.
"""
