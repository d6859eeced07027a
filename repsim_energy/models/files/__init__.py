"""Files of weights: reading them, and finding the first layer in them by names and shapes."""
