"""How much memory to ask Ray for."""
