"""Captures of memray's: read in processes of their own, and summed up."""
