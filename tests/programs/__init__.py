"""What tests run as programs of their own, and what starts clusters, commands and browsers for them."""
