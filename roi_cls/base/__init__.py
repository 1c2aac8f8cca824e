"""What every stage may use and that uses none of them: errors, files, memory, workers, figures.

For other packages: `atomic`, `background`, `closing`, `errors`, `figure`, `location`, `memory`,
`pool`, `quiet`, `rows`, `torchvision`, `version`.
"""
