"""roi-cls for Python code: face crops, and a scikit-learn classifier."""
