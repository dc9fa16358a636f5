"""The region: one readable YAML file that an operator edits, its schema, and the loader that writes it into rows."""
