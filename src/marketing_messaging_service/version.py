"""The version of this project: in the database, in reports and on the command line."""

VERSION = "0.4.0"
"""The newest version in CHANGELOG.md; the same as in pyproject.toml, which a test checks."""
