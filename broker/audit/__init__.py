"""One event for each state change and decision; one sealer that chains the committed ones with SM3."""
