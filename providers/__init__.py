"""The clouds: one contract, several adapters. Knows no requests, no quotas, no database of the broker."""
