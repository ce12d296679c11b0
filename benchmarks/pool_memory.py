"""A pool of many frames through the task, its largest memory and the time: ``pool_memory.py --frames 100000 ...``.

The teacher is EMT, through its card; only geometry is judged (``check_forces: false``), as in a pool of this size. A
second start in the same folder takes up what a killed one left.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

KINDS = {'n_strained': 3, 'n_rattled': 4, 'n_volumes': 2, 'n_substituted': 1}  # tenths of the frames


def main() -> None:
    """Run the task here and print one line."""
    from aiida_pyacemaker.science.frames import Frames
    from aiida_pyacemaker.tasks.main import run_task

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=100_000)
    parser.add_argument('--atoms', type=int, default=16)
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--teacher', type=Path, required=True, help='card of the teacher, see docs/teacher.md')
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    pool = {name: tenths * given.frames // 10 for name, tenths in KINDS.items()}
    pool |= {'n_vacancy': 0, 'n_md_frames': 0, 'max_atoms': given.atoms, 'check_forces': False, 'subsystems': 2}
    task = {
        'mode': 'pool',
        'elements': ['Al', 'Cu'],
        'models': [str(given.teacher.resolve())],
        'pool': {**pool, 'structure_types': ['fcc', 'bcc', 'B2', 'L1_2']},
    }
    os.chdir(given.work)
    Path('task.json').write_text(json.dumps(task))
    began = time.monotonic()
    result = run_task('sample', Path('task.json'))
    seconds = time.monotonic() - began
    if result['status']:
        raise SystemExit(f'{result["failure"]}: {result["message"]}')
    size = Path('frames.npz').stat().st_size / 1024**2
    held = result['peak_memory_MiB']
    made = f'{result["n_frames"]} frames, {result["n_atoms"]} atoms'
    print(f'{made}, {size:.0f} MiB on disk: {seconds:.0f} s, largest resident set {held} MiB', flush=True)
    before = time.monotonic()
    frames = Frames.load('frames.npz')
    print(f'read back: {len(frames)} frames in {time.monotonic() - before:.1f} s, dropped {result["dropped"]}')


if __name__ == '__main__':
    main()
