"""Stories: the road as people walk it, on a real database, real engine and simulated clouds."""
