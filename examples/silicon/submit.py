"""Submit the silicon example from your own profile: ``verdi run examples/silicon/submit.py``.

Before: ``aiida-pyacemaker setup --pseudos .../Si.pz-vbc.UPF --pseudos .../H.pz-vbc.UPF --cutoffs 16 64`` and
``verdi daemon start 2``.
"""

import sys
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import submit

sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))  # under `verdi run`, `__file__` has no folder

from silicon import FAMILY, make_builder

if __name__ == '__main__':
    try:
        orm.load_group(FAMILY)
    except NotExistent:
        sys.exit(f'no pseudopotential family {FAMILY} in this profile: set it up as this file says at its head')
    node = submit(make_builder())
    print(f'submitted {node.process_label}<{node.pk}>')
    print(f'watch it:  aiida-pyacemaker status {node.pk}')
    print(f'report:    aiida-pyacemaker report {node.pk}')
