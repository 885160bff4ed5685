"""Tables of results: rows that are trained and measured, on datasets, with seeds, from one declarative list."""
