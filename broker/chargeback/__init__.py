"""Stage 6: a statement for a payer and a month, from spans and a tariff."""
