"""What the messages of libraries, builds, notebooks and other programs say."""
