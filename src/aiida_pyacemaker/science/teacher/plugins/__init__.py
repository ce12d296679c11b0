"""Teachers by entry point: the cards that stand for them, CHGNet, and any ASE calculator."""
