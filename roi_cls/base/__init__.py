"""What every stage may use and that uses none of them: errors, files, workers, figures.

For other packages: `atomic`, `background`, `closing`, `errors`, `figure`, `location`, `lock`,
`machine`, `pool`, `quiet`, `rows`, `torchvision`, `version`.
"""
