"""Records tasks and actors that nobody decorated: a whole job, at the switch of an environment variable."""
