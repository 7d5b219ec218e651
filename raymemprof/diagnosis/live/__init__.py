"""The live view of what memory is used for."""
