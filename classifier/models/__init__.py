"""Networks and other models, their weights, and the device they compute on."""
