"""Several throw-away machines on one Linux host, each with its own network, files, processes, sshd and Docker engine.

``python -m tests.lab up 4`` brings four up and prints a nodes.yaml for them; see docs/lab.md.
"""
