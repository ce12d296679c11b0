"""WorkChains: who runs after whom, and what to do on failure."""
