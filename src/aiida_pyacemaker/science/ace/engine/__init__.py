"""The fast evaluation engine: eight neighbours, then eight centres, side by side in one vector."""
