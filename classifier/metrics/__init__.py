"""What scores say: metrics, intervals, thresholds, calibration. Knows arrays only.

For other packages: `calibration`, `decision`, `interval`, `measure`, `paired`, `seeds`,
`selection`, `threshold`, `weighted`.
"""
