"""Options: read from YAML and the command line once, into one typed tree.

What is wrong raises an `OptionError` that names the key, what was expected and what was found.
"""
