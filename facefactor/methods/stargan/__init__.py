"""StarGAN: the baseline of expression editing by labels, and a neutraliser for other methods."""
