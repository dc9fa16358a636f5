"""Stage 7: resources are given back: last reading, delete, release quota and prefix, close."""
