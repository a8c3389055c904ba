"""The part that makes load and records it: standard library only, Python 3.9 or later, relative imports only.

It is shipped to nodes as it is, so nothing in here may import anything else of the package.
"""
