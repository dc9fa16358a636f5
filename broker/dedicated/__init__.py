"""Dedicated networks (业务专网, Art. 10-12): a register, and the four steps by which each ends in the extranet.

``values`` steps and facts  ``entry`` what is said of a network  ``rules`` order, dates, lateness, pure  ``register``
puts one on the list  ``steps`` plan, connect, migrate, shut down  ``dates`` new dates, permission to stay  ``evidence``
segments and systems  ``stops`` what is late and whose funds stop  ``board`` lists  ``bringing`` imports a file
"""
