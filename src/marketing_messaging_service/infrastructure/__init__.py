"""What every stage builds on: the database, its migrations, and the lock that keeps runs apart."""
