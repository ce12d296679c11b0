"""Physics and numerics on arrays and ``ase.Atoms``: this floor knows no AiiDA."""
