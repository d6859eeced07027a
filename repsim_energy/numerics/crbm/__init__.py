"""Convolutional restricted Boltzmann machines: whitening, pooling, contrastive divergence."""
