"""What the kinds of database do differently, one folder each."""
