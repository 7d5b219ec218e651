"""What went wrong with memory, and what to do about it."""
