"""Spatial autocorrelation of images and the covariance of patches that follows from it."""
