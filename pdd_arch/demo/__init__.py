"""What `pdd demo` shows: the photographs it adapts to, and the picture that compares the outcome."""
