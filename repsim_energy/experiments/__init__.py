"""Experiments on a paper and a lecture, what they share, published numbers and the report."""
