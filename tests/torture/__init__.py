"""The promises of the pipeline under faults: killed anywhere, two at once, full disks, hostile input.

`python -m tests.torture` is the long form; the tests of this folder are the short one.
"""
