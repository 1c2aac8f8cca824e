"""Networks and other models, their weights, and the device they compute on.

For other packages: `autoencoder`, `backbone`, `catalogue`, `clip`, `device`, `eyes`, `network`,
`origin`, `saved`, `score`, `svm`, `timm_model`, `weights`.
"""
