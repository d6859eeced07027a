"""Reproduce the paper: experiments, their common setting, scales, published numbers, report."""
