"""What runs inside Ray workers: light imports, and nothing that can raise into user code."""
