"""What is scarce: amounts, the limit tree, capacity, holds, the IPv6 plan. Knows no requests and no clouds."""
