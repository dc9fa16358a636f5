"""The order of machine steps, and nothing else. The only importer of temporalio."""
