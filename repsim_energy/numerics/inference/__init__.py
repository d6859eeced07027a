"""Inference on similarities: intervals, reliability and tests."""
