"""One file a claim. ``make bench`` prints a table and, as its last line, one JSON object; no time is ever asserted."""
