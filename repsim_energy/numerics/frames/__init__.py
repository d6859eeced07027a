"""Fixed filters: cosines, wavelets, curvelets, Gabor functions and principal components."""
