"""Zombie information systems (Art. 2(5), 28): five signs, scored from what is known; a person decides.

``values`` facts and signs  ``rules`` the score, pure  ``rules_file`` weights and thresholds as data  ``facts`` gathers
what register, inventory, requests and utilisation know  ``service`` scan and decide  ``board`` lists
"""
