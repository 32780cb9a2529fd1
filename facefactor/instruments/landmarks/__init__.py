"""Training of `perception.landmarks`, see README.md."""
