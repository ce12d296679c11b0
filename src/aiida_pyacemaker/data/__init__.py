"""Data types: datasets of frames, potentials, fit blocks, teachers."""
