"""What a potential is made of: radial functions, couplings and their order, embedding, core repulsion."""
