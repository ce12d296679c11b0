"""pacemaker's and LAMMPS's files of a potential: B-basis ``.yaml`` and C-tilde ``.yace``, in and out."""
