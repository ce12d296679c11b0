"""One file a generator: what it makes, seeded, unscreened unless it says otherwise."""
