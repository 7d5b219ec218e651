"""What keeps recording from harming the code that it records."""
