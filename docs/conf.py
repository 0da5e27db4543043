"""Sphinx settings."""

project = "sacroplasty"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "sacroplasty"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
