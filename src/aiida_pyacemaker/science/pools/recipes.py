"""Which generator works on which prototypes: one line a recipe, in an order that never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations_with_replacement
from typing import Any

from ase import Atoms
from numpy.random import Generator

from ..config import PoolConfig
from .generators.alloys import Alloy, make_sqs, make_substituted, nearby_compositions
from .generators.defects import make_antisites, make_divacancies, make_frenkel_pairs, make_interstitials
from .generators.dimers import make_pair_scan
from .generators.melt import Melt, run_melt
from .generators.molecular_dynamics import Schedule, run_langevin
from .generators.monte_carlo import make_monte_carlo_rattled
from .generators.normal_modes import make_normal_modes
from .generators.random_packing import make_random
from .generators.rattled import make_rattled
from .generators.series import make_sheared, make_volume_series
from .generators.strained import make_strained
from .generators.surfaces import make_surfaces
from .generators.vacancy import COPIES_PER_SITE, make_vacancies
from .lattice import most_compact_supercell
from .melting import melting_point, temperatures
from .screening import NO_ROOM, Screen
from .structure_types import lattice_volume

GROUP_SIZE = 5  # frames drawn one after another share a group, so that a held-out frame has no neighbour in training
MD_RUN, MELT_RUN = 10, 20  # frames of one trajectory at most; a trajectory is one group
RATTLED_STRAIN_FRACTION = 0.25
MIN_VACANCY_HOST = 8  # atoms; in a smaller cell a vacancy is another crystal

Made = tuple[list[Atoms], Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One generator on one parent: ``make(count, rng)`` returns sane frames, and what was lost by reason."""

    name: str
    make: Callable[[int, Generator], Made]


@dataclass(frozen=True)
class Bench:
    """What every recipe works with: the settings, the screen, the prototypes and the sets of elements to mix."""

    config: PoolConfig
    screen: Screen
    prototypes: Sequence[Atoms]
    systems: Sequence[tuple[str, ...]] = ()

    @cached_property
    def crystals(self) -> list[tuple[int, Atoms]]:
        """Return index and structure of the prototypes periodic in all directions."""
        return [(index, atoms) for index, atoms in enumerate(self.prototypes) if atoms.pbc.all()]

    @cached_property
    def supercells(self) -> list[tuple[int, Atoms]]:
        """Return index and supercell of every prototype (a molecule is its own)."""
        return [
            (index, most_compact_supercell(atoms, max_atoms=self.config.max_atoms))
            for index, atoms in enumerate(self.prototypes)
        ]

    @cached_property
    def hosts(self) -> list[tuple[int, Atoms]]:
        """Return index and supercell of the crystals large enough for a point defect."""
        return [(i, cell) for i, cell in self.supercells if cell.pbc.all() and len(cell) >= MIN_VACANCY_HOST]

    @cached_property
    def compositions(self) -> list[tuple[int, Atoms]]:
        """Return index and supercell of the first crystal of each composition: a liquid forgets its lattice."""
        first: dict[str, tuple[int, Atoms]] = {}
        for index, cell in self.supercells:
            if cell.pbc.all():
                first.setdefault(cell.symbols.formula.reduce()[0].format('hill'), (index, cell))
        return list(first.values())

    @cached_property
    def volumes(self) -> dict[str, float]:
        """Return the volume per atom (Å³) of each element's densest crystal, of its radius where there is none."""
        found = {symbol: lattice_volume('fcc', symbol) for system in self.systems for symbol in system}
        pure = [cell for _, cell in self.crystals if len(set(cell.numbers)) == 1]
        sizes = [(cell.symbols[0], float(cell.get_volume()) / len(cell)) for cell in pure]
        return found | dict(sorted(sizes, key=lambda item: -item[1]))  # the densest comes last and stays

    def job(self, name: str, make: Callable[..., Iterable[Atoms]], *args: Any, **options: Any) -> Job:
        """Return the job that screens what ``make(*args, count=, rng=, **options)`` returns."""
        return Job(name=name, make=lambda count, rng: self.screen.keep(make(*args, count=count, rng=rng, **options)))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A kind of frame: the setting that counts it, its jobs, and how many consecutive frames are one group.

    A trajectory (``run``) has at most so many frames, all one group; a job that is asked for more starts anew.
    """

    kind: str
    count: str
    jobs: Callable[[Bench], list[Job]]
    group_size: int = GROUP_SIZE
    run: int | None = None


def strained_jobs(bench: Bench) -> list[Job]:
    """Return a job a crystal."""
    strain = bench.config.strain_max
    return [bench.job(f'strained_{i}', make_strained, atoms, strain_max=strain) for i, atoms in bench.crystals]


def rattled_jobs(bench: Bench) -> list[Job]:
    """Return a job a supercell."""
    options = {
        'strain_max': RATTLED_STRAIN_FRACTION * bench.config.strain_max,
        'amplitudes': bench.config.rattle_amplitudes,
    }
    return [bench.job(f'rattled_{i}', make_rattled, cell, **options) for i, cell in bench.supercells]


def vacancy_jobs(bench: Bench) -> list[Job]:
    """Return a job a host."""
    options = {'amplitudes': bench.config.rattle_amplitudes, 'calculator': bench.screen.calculator}
    return [bench.job(f'vacancy_{i}', make_vacancies, cell, **options) for i, cell in bench.hosts]


def md_jobs(bench: Bench) -> list[Job]:
    """Return a job a supercell and temperature."""
    given, fractions = bench.config.md_temperatures_K, bench.config.md_melting_fractions
    runs = [
        (cell, kelvin)
        for _, cell in bench.supercells
        for kelvin in temperatures(cell.symbols, given=given, fractions=fractions)
    ]

    def run(cell: Atoms, kelvin: float, count: int, rng: Generator) -> Made:
        steps = bench.config.md_steps_between_frames
        schedule = Schedule(temperature_K=kelvin, n_frames=count, steps_between_frames=steps)
        return run_langevin(cell, schedule, screen=bench.screen, rng=rng)

    return [Job(name=f'md_{i}_{kelvin:g}K', make=partial(run, cell, kelvin)) for i, (cell, kelvin) in enumerate(runs)]


def volume_jobs(bench: Bench) -> list[Job]:
    """Return a job a crystal."""
    strain = bench.config.volume_strain_max
    return [bench.job(f'volumes_{i}', make_volume_series, atoms, strain_max=strain) for i, atoms in bench.crystals]


def sheared_jobs(bench: Bench) -> list[Job]:
    """Return a job a crystal."""
    strain = bench.config.strain_max
    return [bench.job(f'sheared_{i}', make_sheared, atoms, strain_max=strain) for i, atoms in bench.crystals]


def monte_carlo_jobs(bench: Bench) -> list[Job]:
    """Return a job a supercell."""
    options = {
        'amplitude': bench.config.monte_carlo_amplitude,
        'min_distance_fraction': bench.config.monte_carlo_distance_fraction,
    }
    return [bench.job(f'monte_carlo_{i}', make_monte_carlo_rattled, cell, **options) for i, cell in bench.supercells]


def melt_jobs(bench: Bench, *, quench: bool) -> list[Job]:
    """Return a job a composition."""

    def run(cell: Atoms, count: int, rng: Generator) -> Made:
        given = bench.config.melt_temperature_K
        kelvin = given or bench.config.melt_melting_fraction * melting_point(cell.symbols)
        steps = bench.config.md_steps_between_frames
        melt = Melt(temperature_K=kelvin, steps=steps, quench=quench, may_heat=given is None)
        return run_melt(cell, melt, screen=bench.screen, count=count, rng=rng)

    name = 'quenched' if quench else 'liquid'
    return [Job(name=f'{name}_{i}', make=partial(run, cell)) for i, cell in bench.compositions]


def random_jobs(bench: Bench) -> list[Job]:
    """Return a job a composition; structures that found no room are counted under ``no_room``."""
    fraction = bench.config.random_distance_fraction

    def run(cell: Atoms, count: int, rng: Generator) -> Made:
        made = make_random(cell, count=count, min_distance_fraction=fraction, rng=rng)
        kept, dropped = bench.screen.keep(made)
        return kept, {**dropped, **({NO_ROOM: count - len(made)} if len(made) < count else {})}

    return [Job(name=f'random_{i}', make=partial(run, cell)) for i, cell in bench.compositions]


def interstitial_jobs(bench: Bench) -> list[Job]:
    """Return a job a host."""
    options = {'amplitudes': bench.config.rattle_amplitudes, 'calculator': bench.screen.calculator}
    return [bench.job(f'interstitial_{i}', make_interstitials, cell, **options) for i, cell in bench.hosts]


def antisite_jobs(bench: Bench) -> list[Job]:
    """Return a job a host with two elements or more."""
    options = {'amplitudes': bench.config.rattle_amplitudes, 'calculator': bench.screen.calculator}
    mixed = [(i, cell) for i, cell in bench.hosts if len(set(cell.numbers)) > 1]
    return [bench.job(f'antisite_{i}', make_antisites, cell, **options) for i, cell in mixed]


def divacancy_jobs(bench: Bench) -> list[Job]:
    """Return a job a host."""
    options = {'amplitudes': bench.config.rattle_amplitudes, 'calculator': bench.screen.calculator}
    return [bench.job(f'divacancy_{i}', make_divacancies, cell, **options) for i, cell in bench.hosts]


def frenkel_jobs(bench: Bench) -> list[Job]:
    """Return a job a host."""
    options = {'amplitudes': bench.config.rattle_amplitudes, 'calculator': bench.screen.calculator}
    return [bench.job(f'frenkel_{i}', make_frenkel_pairs, cell, **options) for i, cell in bench.hosts]


def substituted_jobs(bench: Bench) -> list[Job]:
    """Return a job a set of elements and a supercell that holds one of them or more, and no other."""
    amplitudes = bench.config.rattle_amplitudes
    jobs = []
    for system in bench.systems:
        hosts = [(i, cell) for i, cell in bench.supercells if cell.pbc.all() and set(cell.symbols) <= set(system)]
        for index, cell in hosts if len(system) > 1 else ():
            name = f'substituted_{"-".join(system)}_{index}'
            jobs.append(bench.job(name, make_substituted, cell, elements=system, amplitudes=amplitudes))
    return jobs


def sqs_jobs(bench: Bench) -> list[Job]:
    """Return a job a lattice and composition: the one asked for with its neighbours, else those of every system."""
    config = bench.config
    asked = [config.composition] if config.composition else [dict.fromkeys(s, 1.0) for s in bench.systems if len(s) > 1]
    options = {'amplitudes': config.rattle_amplitudes, 'strain_max': RATTLED_STRAIN_FRACTION * config.strain_max}
    jobs = []
    for composition in asked:
        for counts in nearby_compositions(composition, n_atoms=config.sqs_atoms, step=config.sqs_composition_step):
            volume = sum(bench.volumes[symbol] * number for symbol, number in counts.items()) / config.sqs_atoms
            formula = ''.join(f'{symbol}{number}' for symbol, number in counts.items())
            for lattice in config.sqs_lattices:
                alloy = Alloy(lattice=lattice, volume=volume, counts=counts)
                jobs.append(bench.job(f'sqs_{lattice}_{formula}', make_sqs, alloy, **options))
    return jobs


def surface_jobs(bench: Bench) -> list[Job]:
    """Return a job a crystal."""
    options = {'amplitudes': bench.config.rattle_amplitudes, 'max_atoms': bench.config.max_atoms}
    return [bench.job(f'surface_{i}', make_surfaces, atoms, **options) for i, atoms in bench.crystals]


def normal_mode_jobs(bench: Bench) -> list[Job]:
    """Return a job a molecule."""
    options = {'temperatures_K': bench.config.normal_mode_temperatures_K, 'calculator': bench.screen.calculator}
    molecules = [(i, atoms) for i, atoms in enumerate(bench.prototypes) if not atoms.pbc.any() and len(atoms) > 1]
    return [bench.job(f'normal_modes_{i}', make_normal_modes, atoms, **options) for i, atoms in molecules]


def pair_jobs(bench: Bench) -> list[Job]:
    """Return a job a pair of elements, those with themselves included."""
    elements = sorted({symbol for atoms in bench.prototypes for symbol in atoms.symbols})
    pairs = combinations_with_replacement(elements, 2)
    return [bench.job(f'pairs_{"-".join(pair)}', make_pair_scan, pair) for pair in pairs]


# Each recipe has its own stream by its place: append, never insert, or the pools of a seed change.
RECIPES = (
    Recipe(kind='strained', count='n_strained', jobs=strained_jobs),
    Recipe(kind='rattled', count='n_rattled', jobs=rattled_jobs),
    Recipe(kind='vacancy', count='n_vacancy', jobs=vacancy_jobs, group_size=COPIES_PER_SITE),
    Recipe(kind='md', count='n_md_frames', jobs=md_jobs, run=MD_RUN),
    Recipe(kind='volume', count='n_volumes', jobs=volume_jobs),
    Recipe(kind='sheared', count='n_sheared', jobs=sheared_jobs),
    Recipe(kind='monte_carlo', count='n_monte_carlo', jobs=monte_carlo_jobs),
    Recipe(kind='liquid', count='n_liquid', jobs=partial(melt_jobs, quench=False), run=MELT_RUN),
    Recipe(kind='quenched', count='n_quenched', jobs=partial(melt_jobs, quench=True), run=MELT_RUN),
    Recipe(kind='random', count='n_random', jobs=random_jobs),
    Recipe(kind='interstitial', count='n_interstitial', jobs=interstitial_jobs, group_size=COPIES_PER_SITE),
    Recipe(kind='antisite', count='n_antisite', jobs=antisite_jobs, group_size=COPIES_PER_SITE),
    Recipe(kind='surface', count='n_surface', jobs=surface_jobs),
    Recipe(kind='normal_modes', count='n_normal_modes', jobs=normal_mode_jobs),
    Recipe(kind='pairs', count='n_pairs', jobs=pair_jobs),
    Recipe(kind='divacancy', count='n_divacancy', jobs=divacancy_jobs, group_size=COPIES_PER_SITE),
    Recipe(kind='frenkel', count='n_frenkel', jobs=frenkel_jobs, group_size=COPIES_PER_SITE),
    Recipe(kind='substituted', count='n_substituted', jobs=substituted_jobs),
    Recipe(kind='sqs', count='n_sqs', jobs=sqs_jobs),
)
