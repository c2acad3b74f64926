"""Linear encoders of several layers: fates, times and thresholds of weight decay."""
