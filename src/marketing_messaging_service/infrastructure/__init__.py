"""What every stage stands on: the database, its migrations, and the lock that keeps runs apart."""
