"""The ways in: HTTP, console, command line. Holds no rules."""
