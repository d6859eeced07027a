"""Covariances of filter banks: similarity, alignment with the patch basis, and gradients."""
