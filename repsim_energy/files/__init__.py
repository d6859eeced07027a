"""Files of this package: written whole, sealed, read without trust in names and sizes."""
