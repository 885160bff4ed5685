"""What surrounds BasicSR's training loop: position in the data, random state, signals, processes, resuming."""
