"""Programs that run on the compute node: JSON and arrays in, JSON and arrays out; this floor knows no AiiDA."""
