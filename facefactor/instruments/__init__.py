"""How the frozen networks of our own are trained."""
