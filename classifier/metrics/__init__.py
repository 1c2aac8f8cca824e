"""What scores say: metrics, intervals, thresholds, calibration. Knows arrays only."""
