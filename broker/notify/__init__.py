"""Outbox and inbox: reminders and results land here; channels read from here."""
