"""The labelling factory: every frame sent to DFT comes back as a label of known meaning, or with a reason."""
