"""The work that is measured. A job takes a raw file and a database, and gives the seconds of its steps, if it has any.

Each module imports only what its jobs need, since a job runs in a process of its own whose memory is measured.
"""
