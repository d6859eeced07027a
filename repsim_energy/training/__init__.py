"""Training of networks, and the cache of finished runs."""
