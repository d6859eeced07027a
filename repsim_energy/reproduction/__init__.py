"""What every experiment stands on: its setting, its outcome, scales, published numbers, report."""
