"""The database: the declarative base, sessions, migrations."""
