"""Stage 3: sizing, placement and cost proposed by the system, confirmed by a person, in 3 working days (Art. 17(3))."""
