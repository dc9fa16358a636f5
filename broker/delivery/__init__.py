"""Stage 4: the Center provisions, configures, hands over, within one working day (Art. 17(4))."""
