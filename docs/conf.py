"""Sphinx: the pages of this folder, in Markdown."""

project = 'aiida-pyacemaker'
author = 'The aiida-pyacemaker developers'
extensions = ['myst_parser']
myst_enable_extensions = ['dollarmath']
html_theme = 'alabaster'
exclude_patterns = ['_build']
