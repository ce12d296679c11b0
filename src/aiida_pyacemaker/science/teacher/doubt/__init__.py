"""How unsure a teacher is: distance in its own features, calibration on labels, limits."""
