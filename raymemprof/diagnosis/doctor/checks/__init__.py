"""What `doctor()` looks for, one file an illness: each is given what was observed, and yields findings."""
