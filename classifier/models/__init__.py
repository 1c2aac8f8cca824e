"""Networks and other models, their weights, and the device they compute on.

For other packages: `anomaly`, `backbone`, `clip`, `device`, `evidence`, `network`, `pixels`,
`saved`, `score`, `svm`, `timm_model`, `weights`.
"""
