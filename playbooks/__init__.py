"""Ansible content and the one runner that plays it."""
