"""What scores say: metrics, intervals, thresholds, calibration. Knows arrays only.

For other packages: `calibration`, `decision`, `interval`, `label_errors`, `measure`, `metrics`,
`paired`, `seeds`, `selection`, `threshold`.
"""
