"""Pictures to answers. `opening.open_scorer` opens a model, `predictor.Predictor` asks it."""
