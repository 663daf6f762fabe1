"""What one kind of database does unlike another, a folder each."""
