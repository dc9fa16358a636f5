"""Who: units (a dated tree), people, accounts, roles, deputies, sign-in."""
