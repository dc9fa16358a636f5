"""The parts that run without an operator's own servers: PostgreSQL and Temporal from wheels, and what starts them.

Called by: the command line (``guiyun up``) and the tests. Must not: know tables, requests or clouds.
"""
