"""What reads journals and captures, with or without Ray."""
