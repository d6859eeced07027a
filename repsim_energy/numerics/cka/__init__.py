"""Centered kernel alignment: streaming estimates, Gram matrices, and its null interval."""
