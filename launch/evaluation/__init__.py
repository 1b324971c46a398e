"""What is measured of a senior, and how it is kept and shown."""
