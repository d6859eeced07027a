"""Compare what neural networks represent."""
