"""The documentation says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_table_of_exit_codes_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / 'scripts' / 'exit_codes.py', '--check'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_thresholds_on_the_page_are_the_defaults():
    from aiida_pyacemaker.science.config import ActiveLearningThresholds

    page = (ROOT / 'docs' / 'halting.md').read_text()
    stated = dict(re.findall(r'^\| `(threshold_\w+)` \| (\S+) \|', page, re.MULTILINE))
    assert len(stated) == 3
    for name, value in stated.items():
        assert float(value) == ActiveLearningThresholds.model_fields[name].default


def test_every_make_target_in_the_words_exists():
    targets = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    pages = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'), *(ROOT / 'examples').rglob('README.md')]
    named = {target for page in pages for target in re.findall(r'(?:^|`)make (\w+)', page.read_text(), re.MULTILINE)}
    assert named
    assert named <= targets
