"""The first layer of a network, and the filters that it applies to images."""
