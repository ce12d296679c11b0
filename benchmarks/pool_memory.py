"""A pool of many frames through the task, killed on the way: ``pool_memory.py --frames 100000 --work FOLDER``.

The settings are those of the example Fe-Pt-Mg-O with every count multiplied, but for the kinds of frames in ``COSTLY``,
which the teacher computes one by one: they stay as they are there. The task is killed (SIGKILL) each time so many
pieces were made, and started again in the same folder; at the end that holds one pool. The largest resident set is
that of any of its processes. A second start in the same folder takes up what a first one left.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[1] / 'examples' / 'distillation' / 'fe-pt-mg-o.yaml'
COSTLY = ('n_md_frames', 'n_vacancy')
PROGRAM = 'from aiida_pyacemaker.tasks.main import main; main()'


def make_task(settings: Path, *, frames: int, teacher: str, elements: Sequence[str]) -> dict[str, Any]:
    """Return the task of a pool of some ``frames`` frames, after the settings of a file."""
    import yaml

    from aiida_pyacemaker.science.teacher import find_teacher

    pool = yaml.safe_load(settings.read_text())['distillation']['pool']
    cheap = [name for name in pool if name.startswith('n_') and name not in (*COSTLY, 'n_dimers')]
    factor = frames / sum(pool[name] for name in cheap)
    pool |= {name: round(factor * pool[name]) for name in cheap}
    models = [str(Path(path).resolve()) for path in find_teacher([teacher]).paths]
    return {'mode': 'pool', 'elements': list(elements), 'models': models, 'pool': pool}


def run_until(n_pieces: int | None) -> tuple[float, float]:
    """Run the task here, kill it once its own run has so many pieces more; return peak memory (MiB) and seconds."""
    progress, began = Path('progress.jsonl'), time.monotonic()
    before = len(progress.read_text().splitlines()) if progress.exists() else 0
    child = subprocess.Popen([sys.executable, '-c', PROGRAM, 'sample', 'task.json'])
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss / 1024, time.monotonic() - began
        made = [json.loads(line)['reused'] for line in _whole_lines(progress)[before:]].count(False)
        if n_pieces is not None and made >= n_pieces:
            os.kill(child.pid, signal.SIGKILL)
            n_pieces = None
        time.sleep(0.05)


def _whole_lines(path: Path) -> list[str]:
    return path.read_text().split('\n')[:-1] if path.exists() else []


def main() -> None:
    """Run the task here and print what it took."""
    from aiida_pyacemaker.science.frames import Frames

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=100_000)
    parser.add_argument('--kill-after', type=int, nargs='*', default=[5, 300], metavar='PIECES')
    parser.add_argument('--settings', type=Path, default=EXAMPLE)
    parser.add_argument('--elements', nargs='+', default=['Fe', 'Pt', 'Mg', 'O'])
    parser.add_argument('--teacher', default='chgnet')
    parser.add_argument('--work', type=Path, required=True)
    given = parser.parse_args()
    task = make_task(given.settings, frames=given.frames, teacher=given.teacher, elements=given.elements)
    given.work.mkdir(parents=True, exist_ok=True)
    os.chdir(given.work)
    Path('task.json').write_text(json.dumps(task))
    Path('result.json').unlink(missing_ok=True)
    for number in [*given.kill_after, None]:
        peak, seconds = run_until(number)
        ended = 'ended' if Path('result.json').exists() else 'killed'
        print(f'{ended} after {seconds:.0f} s, largest resident set {peak:.0f} MiB', flush=True)
    result = json.loads(Path('result.json').read_text())
    if result['status']:
        raise SystemExit(f'{result["failure"]}: {result["message"]}')
    size = Path('frames.npz').stat().st_size / 1024**2
    print(f'{result["n_frames"]} frames, {result["n_atoms"]} atoms, {size:.0f} MiB on disk; of {result["n_pieces"]} '
          f'pieces the last run took up {result["n_pieces_reused"]} ({result["n_frames_reused"]} frames)')  # fmt: skip
    print('frames by generator:', result['counts'])
    print('dropped:', result['dropped'])
    before = time.monotonic()
    frames = Frames.load('frames.npz')
    print(f'read back: {len(frames)} frames in {time.monotonic() - before:.1f} s')


if __name__ == '__main__':
    main()
