"""AiiDA plugin that distils a foundation model into a fast ACE potential and buys DFT only where it is ignorant."""

__version__ = '0.1.0'
