"""What the messages of Ray, the kernel, a container's or batch system, and libraries say about memory."""
