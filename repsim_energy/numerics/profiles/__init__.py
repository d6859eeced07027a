"""Energy profiles: measured on filters, by the theory for linear CNNs, fitted, and by chance."""
