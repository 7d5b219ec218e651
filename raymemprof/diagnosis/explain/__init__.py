"""What an error or a text means for memory."""
