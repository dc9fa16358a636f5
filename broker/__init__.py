"""The core: what the broker knows and decides. See ARCHITECTURE.md for the rooms and the direction of imports."""
