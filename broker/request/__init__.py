"""Stage 1: a unit asks. One form, several items; every submission is an immutable revision."""
