"""A face recogniser of our own: 512 numbers a face, compared by cosine."""
