"""How fast it is, beside the fastest that can be, and beside what people use: `make bench`."""
