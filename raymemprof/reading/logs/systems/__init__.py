"""What the messages of kernels, containers, clusters and batch systems say."""
