"""Pure functions on tensors and arrays: no files, no plugins, no training."""
