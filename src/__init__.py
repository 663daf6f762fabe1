"""The code of the project, by package."""
