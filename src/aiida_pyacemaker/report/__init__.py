"""What a run did, read from the provenance graph alone: numbers, figures, one page."""
