"""What the generator has made of the interface's description."""
