"""Stage 2: the authority accepts and approves, returns or refuses, within one working day (Art. 17(2))."""
