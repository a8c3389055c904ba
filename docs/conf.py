"""How the site is built: ``make docs``."""

project = "playbook-kernel"
author = "the playbook-kernel authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "playbook-kernel"
myst_heading_anchors = 4
exclude_patterns = ["examples", "configuration.head"]
