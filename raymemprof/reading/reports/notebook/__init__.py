"""How a notebook shows a report: small, without a network, and as a picture where scripts do not run."""
