"""What is measured of a senior, from judged texts and from distributions; plain Python, numpy and torch."""
