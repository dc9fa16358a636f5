"""Stage 3: sizing, placement and cost proposed by the system, confirmed by a person, in three working days (Art. 17(3))."""
