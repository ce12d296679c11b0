"""Parsers: what a finished program left becomes nodes."""
