"""What Ray's messages say."""
