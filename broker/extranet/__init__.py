"""The e-government extranet as the broker knows it: its topology, what is attached where, and what its routers say."""
