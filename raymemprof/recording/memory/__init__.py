"""What this process and its children have in memory, as the kernel and the allocators say."""
