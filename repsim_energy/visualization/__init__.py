"""Images that activate units of a network most: canvas, ascent, sheet."""
