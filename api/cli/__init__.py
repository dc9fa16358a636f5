"""The command line ``guiyun``: starts the parts, and speaks to a running broker for everything else."""
