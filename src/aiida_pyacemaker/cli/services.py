"""The database server and the message broker of a production profile, given as addresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

PASSWORDS = {'postgresql': 'PGPASSWORD', 'amqp': 'RABBITMQ_PASSWORD', 'amqps': 'RABBITMQ_PASSWORD'}
POSTGRES, RABBITMQ = 'postgresql://USER@HOST:PORT/DATABASE', 'amqp://USER@HOST:PORT/VHOST'


@dataclass(frozen=True, kw_only=True)
class Services:
    """What a new profile stores in and talks over: entry points and their configuration."""

    storage: str = 'core.sqlite_dos'
    storage_config: dict[str, Any] | None = None
    broker: str = 'core.zeromq'
    broker_config: dict[str, Any] | None = None


def read_services(postgres: str | None, rabbitmq: str | None, repository: Path) -> Services:
    """Return the services behind two addresses; what is not given is the one without a server.

    postgres, rabbitmq: addresses as :data:`POSTGRES`, :data:`RABBITMQ`; a password may be part of them and is else read
    from ``PGPASSWORD`` and ``RABBITMQ_PASSWORD``, where it shows in no list of processes. repository: the folder of the
    files beside the database. Raise ``ValueError`` for an address that is none.
    """
    given: dict[str, Any] = {}
    if postgres:
        parts = _split(postgres, ('postgresql', 'postgres'), POSTGRES)
        database = parts.path.strip('/')
        if not (parts.username and database):
            raise ValueError(f'{_hide(parts)} names no user or no database, expected {POSTGRES}')
        given['storage'] = 'core.psql_dos'
        given['storage_config'] = {
            'database_engine': 'postgresql_psycopg',
            'database_hostname': parts.hostname or 'localhost',
            'database_port': parts.port or 5432,
            'database_username': unquote(parts.username),
            'database_password': _password(parts, 'postgresql', ''),
            'database_name': database,
            'repository_uri': repository.absolute().as_uri(),
        }
    if rabbitmq:
        parts = _split(rabbitmq, ('amqp', 'amqps'), RABBITMQ)
        given['broker'] = 'core.rabbitmq'
        given['broker_config'] = {
            'broker_protocol': parts.scheme,
            'broker_username': unquote(parts.username or 'guest'),
            'broker_password': _password(parts, parts.scheme, 'guest'),
            'broker_host': parts.hostname or '127.0.0.1',
            'broker_port': parts.port or (5671 if parts.scheme == 'amqps' else 5672),
            'broker_virtual_host': unquote(parts.path.removeprefix('/')),
        }
    return Services(**given)


def _split(address: str, schemes: tuple[str, ...], expected: str) -> SplitResult:
    parts = urlsplit(address)
    if parts.scheme not in schemes:
        raise ValueError(f'{parts.scheme or "no scheme"} in the address, expected {expected}')
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f'{_hide(parts)}: {error}, expected {expected}') from error
    return parts


def _password(parts: SplitResult, scheme: str, default: str) -> str:
    return unquote(parts.password) if parts.password else os.environ.get(PASSWORDS[scheme], default)


def _hide(parts: SplitResult) -> str:
    """Return the address without its password."""
    return parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()
