"""The whole page, walked in order."""
