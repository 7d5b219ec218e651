"""Files of recordings: brought from other nodes, and removed."""
