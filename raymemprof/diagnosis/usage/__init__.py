"""What memory is used for now."""
