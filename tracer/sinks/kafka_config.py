"""How a Kafka log is addressed: where, under which names, and how the connection is secured.

Closed by default (fault 29): secrets come from the environment and from nowhere else; whoever hints at security without
asking for a protocol is refused rather than connected in plaintext.

==================================  =======================================================================
``kafka://host:port,host:port/``    plaintext, unless ``security=`` asks for more
``kafkas://host:port/``             TLS; with ``sasl_mechanism=`` SASL over TLS
``?prefix=staging.``                before the names of topics and consumer groups
``?security=``                      ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``
``?sasl_mechanism=``                ``PLAIN``, ``SCRAM-SHA-256``, ``SCRAM-SHA-512`` or ``GSSAPI``
``?ssl_cafile=`` and so on          as kafka-python names them: `FILES`, ``ssl_check_hostname``
``?session_timeout_ms=``            after how long a worker that went away loses its partitions (30000)
==================================  =======================================================================

Each option may stand in the environment instead: ``LASTSEEN_KAFKA_SECURITY``, ``LASTSEEN_KAFKA_SSL_CAFILE``. Secrets
must: ``LASTSEEN_KAFKA_USERNAME``, ``LASTSEEN_KAFKA_PASSWORD``, ``LASTSEEN_KAFKA_KEY_PASSWORD``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from kafka import errors as kafka_errors

from tracer.errors import Unavailable

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")
FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
OPTIONS = ("prefix", "security", "sasl_mechanism", *FILES, "ssl_check_hostname", "session_timeout_ms")
SECRETS = re.compile(r"pass|secret|token|user", re.IGNORECASE)
ENV = "LASTSEEN_KAFKA_"

# kafka-python warns of every lost connection. An application that configured no logging must not find that on its stderr.
logging.getLogger("kafka").addHandler(logging.NullHandler())
# With debugging on, it logs each request, the one with the password among them. No level that somebody sets undoes this.
for _chatty in ("kafka.protocol.parser", "kafka.net.connection"):
    logging.getLogger(_chatty).addFilter(lambda entry: entry.levelno > logging.DEBUG)


class Secret(str):
    """A text that prints as ``***``: kafka-python logs whole configurations when debugging is on."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"


class KafkaAddress(NamedTuple):
    """A URL and an environment, read once."""

    servers: tuple[str, ...]
    prefix: str
    client: dict[str, Any]
    """Arguments for every client of kafka-python."""
    session_timeout_ms: int

    @property
    def name(self) -> str:
        """For messages to people; without secrets."""
        return f"Kafka at {','.join(self.servers)}" + (f" (prefix {self.prefix})" if self.prefix else "")


def read_address(url: str, env: Mapping[str, str] | None = None) -> KafkaAddress:
    """Read a Kafka URL, with ``env`` (the process's own if None) for what it does not say.

    Raises:
        ValueError: not understood, contradictory, a secret in the URL, or a secret missing from the environment.
            The text never repeats what might be a secret.
    """
    env = os.environ if env is None else env
    parts = urlsplit(url)
    options = _options(url, env)
    servers = tuple(server for server in parts.netloc.split(",") if server)
    if not servers or not all(re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?", server) for server in servers):
        raise ValueError("a Kafka log is addressed as kafka://host:port[,host:port]/?prefix=…")
    if parts.path not in ("", "/"):
        raise ValueError(f"{parts.path} says nothing in a Kafka address; topics are named with ?prefix=")
    prefix = options.get("prefix", "")
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,200}", prefix):
        raise ValueError("a prefix is made of letters, digits, dots, underscores and hyphens")
    timeout = options.get("session_timeout_ms", "30000")
    if not timeout.isdigit() or int(timeout) < 100:
        raise ValueError("session_timeout_ms is a whole number of milliseconds")
    client = {"bootstrap_servers": list(servers), **_security(parts.scheme, options, env)}
    return KafkaAddress(servers, prefix, client, int(timeout))


def _options(url: str, env: Mapping[str, str]) -> dict[str, str]:
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.netloc or any(SECRETS.search(name) for name in given):
        raise ValueError(
            "credentials do not belong into the address: set LASTSEEN_KAFKA_USERNAME and LASTSEEN_KAFKA_PASSWORD"
        )
    if "security_protocol" in given:
        given["security"] = given.pop("security_protocol")
    unknown = sorted(set(given) - set(OPTIONS))
    if unknown:
        raise ValueError(f"a Kafka address takes {', '.join(OPTIONS)}; not {', '.join(unknown)}")
    inherited = {name: env[ENV + name.upper()] for name in OPTIONS if env.get(ENV + name.upper())}
    return inherited | given


def _security(scheme: str, options: Mapping[str, str], env: Mapping[str, str]) -> dict[str, Any]:
    """The protocol that was asked for, with all it needs; never one that is weaker than something asked for."""
    user, password = env.get(ENV + "USERNAME", ""), env.get(ENV + "PASSWORD", "")
    mechanism = options.get("sasl_mechanism", "").upper()
    wants_sasl = bool(mechanism or user or password)
    wants_tls = scheme == "kafkas" or any(options.get(name) for name in (*FILES, "ssl_check_hostname"))
    protocol = options.get("security", "").upper()
    if not protocol:
        if scheme != "kafkas" and (wants_sasl or wants_tls):
            raise ValueError("this address would connect in plaintext: write kafkas:// or say security=…")
        protocol = ("SASL_SSL" if wants_sasl else "SSL") if scheme == "kafkas" else "PLAINTEXT"
    if protocol not in PROTOCOLS:
        raise ValueError(f"security is one of {', '.join(PROTOCOLS)}")
    if wants_tls and not protocol.endswith("SSL"):
        raise ValueError(f"TLS was asked for, and security={protocol} has none")
    if wants_sasl and not protocol.startswith("SASL"):
        raise ValueError(f"credentials are set, and security={protocol} would not use them; say security=SASL_SSL")
    client: dict[str, Any] = {"security_protocol": protocol}
    if protocol.startswith("SASL"):
        client |= _sasl(mechanism, user, password)
    if protocol.endswith("SSL"):
        client |= _tls(options, env)
    return client


def _sasl(mechanism: str, user: str, password: str) -> dict[str, Any]:
    if mechanism not in MECHANISMS:
        raise ValueError(f"SASL needs sasl_mechanism, one of {', '.join(MECHANISMS)}")
    if mechanism == "GSSAPI":
        return {"sasl_mechanism": mechanism}
    if not user or not password:
        raise ValueError(f"{mechanism} needs LASTSEEN_KAFKA_USERNAME and LASTSEEN_KAFKA_PASSWORD in the environment")
    return {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": Secret(password)}


def _tls(options: Mapping[str, str], env: Mapping[str, str]) -> dict[str, Any]:
    client: dict[str, Any] = {name: options[name] for name in FILES if options.get(name)}
    for name, path in client.items():
        if not os.access(path, os.R_OK):
            raise ValueError(f"{name}: {path} cannot be read")
    check = options.get("ssl_check_hostname", "true").lower()
    if check not in ("true", "false"):
        raise ValueError("ssl_check_hostname is true or false")
    if env.get(ENV + "KEY_PASSWORD"):
        client["ssl_password"] = Secret(env[ENV + "KEY_PASSWORD"])
    return client | {"ssl_check_hostname": check == "true"}


def unavailable(name: str, error: BaseException) -> Unavailable:
    """What kafka-python raised, as something to wait for; its text names the kind of error and no configuration."""
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return Unavailable(f"{name}: the topics are not there; `lastseen setup` makes them")
    detail = str(error) if isinstance(error, kafka_errors.KafkaTimeoutError) else type(error).__name__
    return Unavailable(f"{name}: {detail}")
