"""Peaks of whatever runs on Ray, seen from the outside once a second: `watch()`, and what `advise()` reads of it."""
