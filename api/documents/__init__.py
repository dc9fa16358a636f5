"""Documents to take away: a statement as CSV, Excel and PDF. No rules; what they show comes from the services."""
