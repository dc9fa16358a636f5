"""What resources really use, kept outside the transactional tables: Parquet behind a URL, read by DuckDB.

``values`` metrics, policies, runs  ``policy_file`` policies as data  ``rules`` decisions over values  ``local_days``
days of a time zone  ``engine`` DuckDB within its limits  ``samples`` reads files and says what it left out  ``store``
the Parquet kept for the long run  ``storage``, ``bucket`` where it stands  ``measured``, ``batches``, ``scan_sql``,
``scan`` maximal runs of days  ``files`` runs in files named by hand  ``service`` joins them with the inventory
"""
