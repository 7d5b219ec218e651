"""Heaps, flame graphs, tables and speedscope files, of one capture or merged over many."""
