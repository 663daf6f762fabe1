"""The work that is measured. A job takes a raw file and a database, and gives the seconds of its steps, if it has any.

Each module imports only what its jobs need, because the memory of a job's process is measured.
"""
