"""Stage 3: sizing, placement and cost proposed by the system, confirmed by a person, within three working days (Art. 17(3))."""
