"""From files to results."""
