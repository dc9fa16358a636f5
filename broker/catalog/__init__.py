"""Where: the sub-clouds of 1+N+14, what they offer, who decides and who delivers for each, and how they feel."""
