"""How a text is brought back to what was printed."""
