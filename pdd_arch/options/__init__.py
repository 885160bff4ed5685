"""Options: read from YAML and the command line once, into one typed tree."""
