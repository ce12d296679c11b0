"""How far the untouched teacher is from DFT on the clusters of a finished run: what no fit to that teacher can repair.

    python examples/silicon/theory_gap.py          # the run of ``make demo``
    python examples/silicon/theory_gap.py PK       # a run of your own profile

Prints RMSE = sqrt(mean over atoms and components of (F_a - F_b)²) and the rms of the DFT forces, in eV/Å, over all
atoms but the hydrogen caps and over the core atoms. Where ``chgnet`` is installed (``pip install -e '.[teachers]'``)
the gap is split: CHGNet, whose labels are PBE, against DFT (functional, pseudopotentials, cut-offs, CHGNet's own
error), and the teacher against CHGNet (what was lost in training the small models).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def label_geometries(root: Any) -> dict[str, Any]:
    """Return the DFT-labelled clusters of the run, frames by 'kept out' and 'trained on'."""
    from aiida_pyacemaker.science.frames import concatenate_frames

    cutouts = [node for node in root.called_descendants if node.process_label == 'CutoutWorkChain']
    found: dict[str, list[Any]] = {'kept out': [], 'trained on': []}
    for node in sorted(cutouts, key=lambda item: item.pk):
        if 'label_dataset' in node.outputs:
            source = 'kept out' if node.caller.pk == root.pk else 'trained on'  # the others are of a round's learning
            found[source].append(node.outputs.label_dataset.get_frames())
    return {source: concatenate_frames(parts) for source, parts in found.items() if parts}


def teacher_forces(root: Any, frames: Any) -> Any:
    """Return (M, 3) eV/Å of the teacher the run was given, before any fine-tuning."""
    from aiida_pyacemaker.science.teacher import label_frames, load_teacher

    with tempfile.TemporaryDirectory() as folder:
        return label_frames(load_teacher(root.inputs.teacher.write_to(folder)), frames).forces


def chgnet_forces(frames: Any) -> Any:
    """Return (M, 3) eV/Å of CHGNet, or ``None`` where it is not installed."""
    import numpy as np

    if importlib.util.find_spec('chgnet') is None:
        return None
    from chgnet.model.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    model = CHGNet.load(use_device='cpu', verbose=False)
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames.iter_atoms()]
    return np.concatenate([model.predict_structure(structure, task='ef')['f'] for structure in structures])


def gap_rows(frames: Any, models: dict[str, Any]) -> list[tuple[str, int, dict[str, float]]]:
    """Return (which atoms, how many, {quantity: rms in eV/Å}); models: forces (M, 3) by name, 'DFT' among them."""
    import numpy as np

    from aiida_pyacemaker.science.frames import SHELL_CAP, SHELL_CORE

    labelled = np.isfinite(models['DFT']).all(axis=1)
    groups = {'all but caps': labelled & (frames.shell != SHELL_CAP), 'core': labelled & (frames.shell == SHELL_CORE)}
    pairs = [('teacher', 'DFT'), ('CHGNet', 'DFT'), ('teacher', 'CHGNet')]
    rows = []
    for name, chosen in groups.items():
        values = {'|F| DFT': models['DFT']} | {
            f'{one} - {other}': models[one] - models[other] for one, other in pairs if one in models and other in models
        }
        rms = {key: float(np.sqrt(np.mean(value[chosen] ** 2))) for key, value in values.items()}
        rows.append((name, int(chosen.sum()), rms))
    return rows


def find_root(pk: str | None) -> Any:
    """Return the root node: ``pk`` in the loaded profile, or the run of ``demo-output/summary.json``."""
    from aiida import load_profile, orm

    if pk is None:
        os.environ['AIIDA_PATH'] = str(ROOT / '.aiida')
    load_profile()
    return orm.load_node(pk or json.loads((ROOT / 'demo-output' / 'summary.json').read_text())['root_uuid'])


def main() -> None:
    """Print one line a source and group of atoms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pk', nargs='?', help='PK or UUID of a finished run; default: the run of make demo')
    warnings.simplefilter('ignore')
    root = find_root(parser.parse_args().pk)
    print(f'run {root.uuid}, seed {root.inputs.seed.value}, {root.ctime:%Y-%m-%d}; rms over components, eV/Å')
    for source, frames in label_geometries(root).items():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # chatter of imports
            models = {'DFT': frames.forces, 'teacher': teacher_forces(root, frames), 'CHGNet': chgnet_forces(frames)}
        models = {name: forces for name, forces in models.items() if forces is not None}
        for name, count, rms in gap_rows(frames, models):
            words = '   '.join(f'{key} {value:.2f}' for key, value in rms.items())
            print(f'{source:11}{len(frames):3d} clusters  {name:13}{count:4d} atoms   {words}')


if __name__ == '__main__':
    main()
