"""The worker: a program of its own that runs one script and answers requests about it.

It reads messages from its standard input and writes one answer to each to its standard output.
Both are moved out of the script's way at the start: what the script prints goes to standard error,
and it has nothing to read. When the input ends, attachtrans is gone, and so goes the worker, with
all processes that the script may have started.

This keeps accidents away from attachtrans and from its process: crashes, endless loops, memory
that runs out. It is no sandbox: the script may do whatever its user may do.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from attachtrans.hosting import arcpy_stub, wire
from attachtrans.hosting.script import Blocks, Place, Script, load_function, with_tuples
from attachtrans.hosting.wire import Message

_MAX_REQUEST_BYTES = 1 << 40
"""The requests come from attachtrans, whose blocks are as large as its user wants them."""

Answer = Message | Mapping[str, Any]


class Worker:
    """Holds the script between requests. Each verb takes a message and gives its answer."""

    def __init__(self) -> None:
        self._script: Script | None = None

    @property
    def script(self) -> Script:
        """The script that `open` loaded."""
        if self._script is None:
            raise RuntimeError("nothing is open")
        return self._script

    def open(self, request: Message) -> Answer:
        """Load the script and let it initialize; gives its parameters."""
        asked = request.header
        limit_memory(asked["memory_bytes"])
        arcpy_stub.install(asked["device"])
        path = Path(asked["script"])
        self._script = Script(load_function(path, asked["folders"]))
        if refusal := self._script.is_licensed(asked["product"]):
            return {"refusal": refusal}
        self._script.initialize(asked["model"], asked["device"])
        return {"parameters": self._script.parameters()}

    def configure(self, request: Message) -> Answer:
        """Give the configuration for these scalars."""
        return {"configuration": self.script.configuration(request.header["scalars"])}

    def inform(self, request: Message) -> Answer:
        """Tell the script what rasters come; gives what goes out."""
        asked = request.header
        output = self.script.update_raster_info(asked["scalars"], asked["infos"], asked["output"])
        self.script.update_key_metadata()
        return {"output": output}

    def translate(self, request: Message) -> Answer:
        """Compute a block."""
        asked = request.header
        place = Place(
            tlc=tuple(asked["tlc"]), shape=tuple(asked["shape"]), props=with_tuples(asked["props"])
        )
        pixels, masks = (
            {name: _blocks(request, sources, kind) for name, sources in asked["rasters"].items()}
            for kind in ("pixels", "mask")
        )
        return Message(header={}, arrays=self.script.update_pixels(place, pixels, masks))


def _blocks(request: Message, sources: str | list[str], kind: str) -> Blocks:
    """The arrays of a raster, or of each raster of a parameter that takes several."""
    if isinstance(sources, str):
        return request.arrays[f"{sources}.{kind}"]
    return tuple(request.arrays[f"{source}.{kind}"] for source in sources)


def limit_memory(nbytes: int) -> None:
    """Let allocations beyond so many bytes fail, where the system can be told so.

    RLIMIT_DATA counts private memory that can be written. Address space would be simpler to limit,
    but CUDA and thread stacks reserve far more of it than they use.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = nbytes if hard == resource.RLIM_INFINITY else min(nbytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Answer requests until there are no more."""
    requests, answers = _private_channel()
    waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    worker = Worker()
    verbs: dict[str, Callable[[Message], Answer]] = {
        "open": worker.open,
        "configure": worker.configure,
        "inform": worker.inform,
        "translate": worker.translate,
    }
    while True:
        request = waiting.get()
        try:
            answer = verbs[request.header["verb"]](request)
            wire.write(answers, answer if isinstance(answer, Message) else Message(header=answer))
        except BaseException as error:  # noqa: BLE001 (whatever a script does is its answer)
            traceback.print_exc()
            wire.write(answers, Message(header={"error": _in_words(error)}))


def _private_channel() -> tuple[IO[bytes], IO[bytes]]:
    """The standard input and output, out of the script's way."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _receive(requests: IO[bytes], waiting: queue.SimpleQueue[Message]) -> None:
    """Pass messages on; at their end, end the worker, whatever it is doing."""
    try:
        while True:
            waiting.put(wire.read(requests, limit_bytes=_MAX_REQUEST_BYTES))
    except EOFError:
        pass
    except BaseException:  # noqa: BLE001 (no memory left for a request, say)
        traceback.print_exc()
    finally:
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _in_words(error: BaseException) -> str:
    """What was raised, and where."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
