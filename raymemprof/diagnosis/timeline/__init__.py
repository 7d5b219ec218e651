"""`timeline()`: memory over time, with calls as bands."""
