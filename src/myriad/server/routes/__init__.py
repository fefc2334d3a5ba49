"""The API, one file for each noun: thin over the core's views and the ledger's books."""
