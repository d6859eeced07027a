"""Patches: their moments, principal components, mean patch per image, and tiles."""
