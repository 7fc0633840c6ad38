"""The process of a worker, seen from attachtrans: started, asked, watched, ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from attachtrans.hosting import wire
from attachtrans.hosting.wire import Message, WireError

_LOG = logging.getLogger(__name__)

# The worker finds packages where this process finds them, whatever -I leaves out.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from attachtrans.hosting.worker import main; main()"
)
# Enough for Python, CUDA and threads to find their way; secrets that lie in the environment of a
# shell are none of a script's business.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP"),
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA"),
)
_TAIL_BYTES = 4096
_LOOK_EVERY_S = 0.05
# How long a process may take to end after its channel broke, so that its exit code is its own.
_DYING_S = 2.0


class ScriptError(Exception):
    """The script raised; the worker is alive."""


class WorkerError(Exception):
    """The worker is gone: it crashed, was too slow, or talked nonsense."""


class _Child:
    """The process with its two threads: one reads what it prints, one ends it when it must end."""

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.stop = threading.Event()
        self.verdict = ""
        self._tail = bytearray()
        places = [path for path in sys.path if path]
        self.process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-I", "-u", "-B", "-c", _PROGRAM, *places, str(_root())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,  # so that Ctrl-C reaches attachtrans, which ends it in order
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def channel(self) -> tuple[IO[bytes], IO[bytes]]:
        """Where requests go, and where answers come from."""
        requests, answers = self.process.stdin, self.process.stdout
        if requests is None or answers is None:
            raise WorkerError("it has no channel")
        return requests, answers

    def tail(self) -> str:
        """The last lines that were printed."""
        return self._tail.decode(errors="replace").strip()

    def kill(self, verdict: str = "") -> None:
        """End the process and whatever it has started; `verdict` says why."""
        if self.process.poll() is None:
            self.verdict = self.verdict or verdict
            self._kill_all()
        self.process.wait()

    def close(self) -> None:
        """End it and give back what it held."""
        self.kill()
        self._listener.join(timeout=1)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def end(self) -> str:
        """How the process ended, in words; waits for it."""
        code = self.process.wait()
        self._listener.join(timeout=1)
        if self.verdict:
            return self.verdict
        if code >= 0:
            return f"it ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it crashed ({name})"

    def _listen(self) -> None:
        stream = self.process.stderr
        if stream is None:
            return
        with contextlib.suppress(OSError, ValueError):
            for line in iter(lambda: stream.readline(_TAIL_BYTES), b""):
                self._tail += line
                del self._tail[:-_TAIL_BYTES]
                _LOG.info("%s", line.decode(errors="replace").rstrip())

    def _kill_all(self) -> None:
        """End the process and all of its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def _watch(self) -> None:
        while self.process.poll() is None:
            if self.stop.is_set():
                self.kill("it was stopped")
            elif time.monotonic() > self.deadline:
                self.kill("it took too long")
            time.sleep(_LOOK_EVERY_S)
        self._kill_all()  # what a script left behind when it ended by itself


class WorkerProcess:
    """A worker that answers one request at a time; it ends when this object does.

    It is started in an environment of few variables, in a session of its own, and without input.
    """

    def __init__(self) -> None:
        self._child = _Child()
        self.close = weakref.finalize(self, _Child.close, self._child)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.close.alive and self._child.process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._child.process.pid

    def obey(self, stop: threading.Event) -> None:
        """End the worker as soon as `stop` is set."""
        self._child.stop = stop

    def ask(
        self,
        verb: str,
        request: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
        *,
        timeout_s: float,
        limit_bytes: int = 0,
    ) -> Message:
        """Send a request and wait for its answer, whose arrays have `limit_bytes` at most.

        Raises:
            ScriptError: the script raised; what and where.
            WorkerError: the worker ended, or was ended because it took longer than `timeout_s`;
                how, and what it printed last.
        """
        child = self._child
        requests, answers = child.channel
        child.deadline = time.monotonic() + timeout_s
        try:
            wire.write(requests, Message(header={"verb": verb, **request}, arrays=arrays or {}))
            answer = wire.read(answers, limit_bytes=limit_bytes)
        except (OSError, EOFError, ValueError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(timeout=_DYING_S)
            child.kill("it closed its channel")
            raise WorkerError(self._last_words(timeout_s)) from error
        except WireError as error:
            child.kill(f"it sent {error}")
            raise WorkerError(self._last_words(timeout_s)) from error
        except BaseException:  # Ctrl-C
            child.kill()
            raise
        finally:
            child.deadline = float("inf")
        if "error" in answer.header:
            raise ScriptError(str(answer.header["error"]))
        return answer

    def _last_words(self, timeout_s: float) -> str:
        end, tail = self._child.end(), self._child.tail()
        if end == "it took too long":
            end = f"it took longer than {timeout_s:g} s"
        return f"{end}; it printed last: {tail[-600:]}" if tail else end


def _root() -> Path:
    """The folder that holds attachtrans."""
    return Path(__file__).resolve().parents[2]
