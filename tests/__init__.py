"""Tests: `unit` needs no Ray cluster, `cluster` needs one."""
