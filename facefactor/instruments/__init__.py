"""How our own frozen networks are trained: a folder each, in the shape of a method's."""
