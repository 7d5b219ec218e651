"""Messages in the exact form in which programs print them, and what they say."""
