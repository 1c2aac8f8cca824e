"""Pictures to answers. `scorer.open_scorer` opens a model, `predictor.Predictor` asks it.

For other packages: `cropping`, `loaded`, `onnx_model`, `prediction`, `predictor`, `scorer`,
`verify`.
"""
