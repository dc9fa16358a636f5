"""What a size costs and who pays: tariffs with versions, payer rules with their article, quotes."""
