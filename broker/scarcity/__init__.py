"""How what is scarce is shared: a unit's quota, who else waits for it, notices of what fills up, clouds that differ."""
