"""Named nulls: the similarities of networks that have nothing, or only statistics, in common."""
