"""Target domains that one can make: declared degradations of HR photographs, with ground truth for measuring."""
