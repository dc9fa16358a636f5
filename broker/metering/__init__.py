"""Stage 5: usage as spans, derived from the resources' periods."""
