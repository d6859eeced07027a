"""Localization and orientation of filters, the two properties of wavelets in two dimensions."""
