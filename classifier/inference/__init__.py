"""Pictures to answers. `opening.open_scorer` opens a model, `predictor.Predictor` asks it.

For other packages: `cropping`, `loaded`, `onnx_file`, `onnx_model`, `opening`, `prediction`,
`predictor`, `scorer`, `verify`.
"""
