"""Files of a run: configuration, records, checkpoints and the working directory that holds them."""
