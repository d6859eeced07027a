"""Reproduction of the paper: experiments, their settings, published numbers and the report."""
