"""Asking a server: turns, retries, credentials, the cache; and errors that say what to do."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from attachtrans import __version__
from attachtrans.errors import ArgumentError, ImageError, SourceError
from attachtrans.stores.services.address import redact
from attachtrans.stores.services.base import (
    HEADER_VARIABLE,
    MISSING_EXTRA,
    TOKEN_VARIABLE,
    Access,
    Answer,
)
from attachtrans.stores.services.cache import Cache
from attachtrans.stores.services.pace import Pace
from attachtrans.stores.services.refusals import BadAnswerError, refusal

T = TypeVar("T")

MOST_BYTES = 256 * 1024**2
"""Of one answer: a block of 1024 x 1024 with 12 bands of float64 takes 96 MiB uncompressed."""

_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOTHING = frozenset({204, 404, 410})
_REDIRECTS = 5
_LONGEST_WAIT_S = 300.0
_FIRST_WAIT_S = 0.5
_BODY_TRIES = 2
_CHUNK = 64 * 1024
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a try failed, and how long the server wants to be left alone."""

    reason: str
    wait_s: float | None = None


class Client:
    """Asks the servers of one service; thread-safe. Close it after use.

    home  addresses whose hosts may see the credentials

    Raises:
        ArgumentError: urllib3 is not installed.
        SourceError: the cache's folder cannot be made.
    """

    def __init__(self, access: Access, home: tuple[str, ...]) -> None:
        try:
            import urllib3
        except ImportError as error:
            raise ArgumentError(MISSING_EXTRA) from error
        self.access = access
        self._home = frozenset(_origin(url) for url in home)
        self._pace = Pace(access.rate)
        self._cache = (
            None
            if access.cache is None
            else Cache(access.cache, most_bytes=access.cache_bytes, days=access.cache_days)
        )
        self._urllib3 = urllib3
        self._secrets = (
            access.token or "",
            *access.headers.values(),
            *(value.rpartition(" ")[2] for value in access.headers.values()),  # Bearer ...
        )
        self._direct = urllib3.PoolManager(maxsize=access.parallel, block=False)
        self._proxies = {
            scheme: urllib3.ProxyManager(proxy, maxsize=access.parallel)
            for scheme, proxy in getproxies().items()
            if scheme in _PORTS
        }

    def show(self, url: str) -> str:
        """An address without what nobody may see."""
        return redact(url, self._secrets)

    def get(
        self,
        url: str,
        read: Callable[[Answer], T],
        *,
        keep: bool = True,
        retries: int | None = None,
    ) -> T:
        """Ask for an address and read the answer.

        Args:
            url: http or https.
            read: of an answer with status 200, 204 or 404; its BadAnswerError and ImageError
                mean that the answer is none, and is not kept.
            keep: the answer may come from the cache and go there.
            retries: None: as many as `Access` says.

        Raises:
            ArgumentError: another scheme.
            SourceError: no answer that `read` takes, after all the tries; names the address.
        """
        shown = self.show(url)
        if urlsplit(url).scheme.lower() not in _PORTS:
            raise ArgumentError(f"{shown}: services are asked by http or https only")
        asked = self._key(url)
        if keep and self._cache is not None and (kept := self._cache.find(asked, shown)):
            try:
                return read(kept)
            except (BadAnswerError, ImageError):
                self._cache.forget(asked)
        failures: list[str] = []
        last = self.access.retries if retries is None else retries
        for attempt in range(last + 1):
            found = self._try(url, shown, read, asked if keep else None)
            if not isinstance(found, _Failure):
                return found[0]
            failures.append(found.reason)
            if attempt < last:
                self._pace.hold(_wait_s(attempt, found.wait_s))
        raise SourceError(
            f"{shown}: {failures[-1]}. Asked {len(failures)} times; try again later, or with fewer "
            "requests a second (--rate)"
        )

    def _try(
        self, url: str, shown: str, read: Callable[[Answer], T], asked: str | None
    ) -> _Failure | tuple[T]:
        self._pace.wait()
        errors = self._urllib3.exceptions
        try:
            response = self._request(url)
            try:
                answer, failure = self._take(response, shown)
            finally:
                response.release_conn()
        except SourceError:  # an OSError, too
            raise
        except (errors.LocationParseError, errors.URLSchemeUnknown) as error:
            raise SourceError(f"{shown}: leads to no address that can be asked: {error}") from error
        except errors.MaxRetryError as error:
            if isinstance(error.reason, errors.ResponseError):
                raise SourceError(f"{shown}: redirects more than {_REDIRECTS} times") from error
            return _Failure(self.show(f"no answer ({_said(error.reason)})"))
        except (errors.HTTPError, OSError) as error:
            return _Failure(self.show(f"the answer broke off ({_said(error)})"))
        if failure is not None:
            return failure
        return self._read(answer, shown, read, asked)

    def _read(
        self, answer: Answer, shown: str, read: Callable[[Answer], T], asked: str | None
    ) -> _Failure | tuple[T]:
        try:
            result = read(answer)
        except (BadAnswerError, ImageError) as error:
            message = self.show(str(error))
            if isinstance(error, BadAnswerError) and not error.passes:
                raise SourceError(f"{shown}: {message}") from error
            return _Failure(message)
        if asked is not None and self._cache is not None:
            self._cache.keep(asked, answer)
        return (result,)

    def _request(self, url: str) -> Any:
        access = self.access
        mine = dict(access.headers) if _origin(url) in self._home else {}
        parts = urlsplit(url)
        pool: Any = self._proxies.get(parts.scheme.lower(), self._direct)
        if pool is not self._direct and proxy_bypass(parts.hostname or ""):
            pool = self._direct
        return pool.request(
            "GET",
            url,
            headers={"User-Agent": f"attachtrans/{__version__}", "Accept": "*/*", **mine},
            preload_content=False,
            timeout=access.timeout_s,
            # Only redirects are left to urllib3: it drops credentials when the host changes.
            retries=self._urllib3.Retry(
                total=None,
                connect=0,
                read=0,
                status=0,
                other=0,
                redirect=_REDIRECTS,
                remove_headers_on_redirect=(*mine, "Authorization", "Cookie"),
            ),
        )

    def _take(self, response: Any, shown: str) -> tuple[Answer, _Failure | None]:
        status = int(response.status)
        body = self._body(response, shown)
        answer = Answer(
            url=shown,
            status=404 if status in _NOTHING - {204} else status,
            media_type=str(response.headers.get("Content-Type") or ""),
            data=body,
        )
        if status in (200, *_NOTHING):
            return answer, None
        words = f"the server answers {status} {response.reason or ''}".rstrip()
        if body:
            words += f" ({self.show(str(refusal(answer)))})"
        if status in _MAY_PASS:
            return answer, _Failure(words, self._retry_after(response))
        if status in (401, 403, 407):
            words += (
                f"; it wants credentials: set {HEADER_VARIABLE}='Authorization: Bearer ...' or, "
                f"for ArcGIS, {TOKEN_VARIABLE}"
            )
        raise SourceError(f"{shown}: {words}")

    def _body(self, response: Any, shown: str) -> bytes:
        parts, total = [], 0
        while chunk := response.read(_CHUNK, decode_content=True):
            total += len(chunk)
            if total > MOST_BYTES:
                response.close()
                raise SourceError(
                    f"{shown}: the answer is larger than {MOST_BYTES // 1024**2} MiB; it is not "
                    "a tile or a window of an image"
                )
            parts.append(chunk)
        return b"".join(parts)

    def _retry_after(self, response: Any) -> float | None:
        try:
            wait: float | None = self._urllib3.Retry().get_retry_after(response)
        except self._urllib3.exceptions.InvalidHeader:
            return None
        return wait

    def _key(self, url: str) -> str:
        """What an answer is kept under: no secret, but whether there was one.

        A token is renewed every hour and the pictures stay, so it does not count. Another key in
        the address may see other things, so a digest of that does.
        """
        signed = bool(self.access.token or (self.access.headers and _origin(url) in self._home))
        for secret in filter(None, self._secrets):
            url = url.replace(secret, "")
        return f"{redact(url)} {signed} {hashlib.sha256(url.encode()).hexdigest()}"

    def close(self) -> None:
        """Let go of the connections."""
        for pool in (self._direct, *self._proxies.values()):
            pool.clear()


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def _wait_s(attempt: int, wanted: float | None) -> float:
    """Twice as long each time, and not at the same moment as everybody else."""
    if wanted is not None:
        return min(wanted, _LONGEST_WAIT_S)
    return min(_FIRST_WAIT_S * 2.0**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1.5)  # noqa: S311


def _said(error: BaseException | None) -> str:
    """An error of urllib3 without the connection object that it begins with."""
    words = str(error.args[-1]) if error is not None and error.args else type(error).__name__
    return re.sub(r"^HTTPS?Connection\([^)]*\): ", "", words)
