"""The IPv6 plan: pools in a tree of zones and levels, and the prefixes handed out of them."""
