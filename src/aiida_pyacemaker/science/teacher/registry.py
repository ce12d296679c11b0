"""From the name of a foundation model to a local file: cache, download, checksum, licence."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .plugins.cards import plugin_names

MIT = 'MIT'
ASL = 'ASL (academic use only, see https://github.com/gabor1/ASL)'
UNKNOWN_LICENCE = 'unknown: ask whoever made the file'
ACADEMIC_NAMES = ('omat', 'omol', 'matpes', 'mh-', 'off23-')
TIMEOUT_S = 120.0
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A model file on this machine: where it lies, what it holds, whose it is and where it came from."""

    path: Path
    sha256: str
    licence: str
    source: str


def resolve_model(
    name_or_path: str | Path, *, cache_dir: str | Path | None = None, addresses: Mapping[str, str] | None = None
) -> ResolvedModel:
    """Return the local file of a model given as a file, an http(s) address or the name of a foundation model.

    Names are those of ``mace_mp`` plus ``off23-small``, ``off23-medium``, ``off23-large``. A model that is not in the
    cache is downloaded beside it and renamed when complete; its sha256 is recorded in ``FILE.sha256`` and checked
    at every later use.

    cache_dir: default ``${XDG_CACHE_HOME:-~/.cache}/mace``, which mace itself uses; addresses: name -> address, for a
    mirror, default mace's own table. Raise ``ValueError`` for an unknown name or a damaged file, ``ConnectionError``
    when the address cannot be reached.
    """
    text = str(name_or_path)
    if Path(text).expanduser().is_file():
        path = Path(text).expanduser().resolve()
        return ResolvedModel(path=path, sha256=file_sha256(path), licence=UNKNOWN_LICENCE, source=f'file {path.name}')
    table = dict(addresses) if addresses is not None else foundation_addresses()
    if text.startswith(('http://', 'https://')):
        url, licence = text, UNKNOWN_LICENCE
    elif text in table:
        url, licence = table[text], licence_of(text)
    else:
        raise ValueError(
            f'model {text!r} is no file and no known name; give a path, an address or one of '
            f'{", ".join([*table, *plugin_names()])}'
        )
    folder = Path(cache_dir) if cache_dir is not None else default_cache()
    path = folder / ''.join(letter for letter in url.rsplit('/', 1)[-1] if letter.isalnum() or letter == '_')
    if not path.is_file():
        download_model(url, path, name=text)
    return ResolvedModel(path=path, sha256=_checked_sha256(path), licence=licence, source=url)


def licence_of(name: str) -> str:
    """Return the licence of a foundation model."""
    return ASL if any(part in name for part in ACADEMIC_NAMES) else MIT


def foundation_addresses() -> dict[str, str]:
    """Return name -> address of the foundation models that mace knows."""
    from mace.calculators.foundations_models import mace_mp_urls, mace_off_urls

    return {**mace_mp_urls, **{f'off23-{name}': url for name, url in mace_off_urls.items()}}


def default_cache() -> Path:
    """Return mace's cache folder."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mace'


def download_model(url: str, target: Path, *, name: str) -> None:
    """Fetch ``url`` to ``target`` and record its sha256; nothing is left at ``target`` unless it is complete.

    Raise ``ConnectionError`` naming model, address, cache file and remedy; ``ValueError`` when the answer is a web
    page or shorter than announced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=target.parent, suffix='.part')
    try:
        with os.fdopen(descriptor, 'wb') as out, urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            wanted, kind = answer.headers.get('Content-Length'), answer.headers.get_content_type()
            while block := answer.read(CHUNK_BYTES):
                out.write(block)
            size = out.tell()
        if kind == 'text/html' or size == 0 or (wanted is not None and size != int(wanted)):
            raise ValueError(
                f'model {name!r}: {url} gave {size} bytes of {kind}, expected {wanted or "a"} model file; try again'
            )
        record = target.with_name(f'{target.name}.sha256')
        record.write_text(f'{file_sha256(Path(part))}  {target.name}\n')
        os.replace(part, target)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(
            f'model {name!r} is not in the cache {target.parent} and {url} cannot be reached ({error}); put the file '
            f'at {target} or give the path of a model file instead of the name'
        ) from error
    finally:
        Path(part).unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open('rb') as handle:
        return hashlib.file_digest(handle, 'sha256').hexdigest()


def _checked_sha256(path: Path) -> str:
    """Return the sha256 of a cached model; hold it against the record, which is written when there is none."""
    record, found = path.with_name(f'{path.name}.sha256'), file_sha256(path)
    if not record.is_file():
        record.write_text(f'{found}  {path.name}\n')
    expected = record.read_text().split()[0]
    if found != expected:
        raise ValueError(f'{path} has sha256 {found}, expected {expected} as when it was downloaded: delete both files')
    return found
