"""The journal: what it knows of contents and jobs, its lock, and what a crash leaves of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attachtrans.errors import BusyError, SinkError
from attachtrans.journal import Entry, JobDescription, Journal


def job(fingerprint: str = "model A") -> JobDescription:
    return JobDescription(
        source="photos.gpkg", fingerprint=fingerprint, model="m", arguments="{}", version="0"
    )


def entry(key: str, before: str, after: str) -> Entry:
    return Entry(table="t.data", key=key, digest_in=before, digest_out=after)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "photos.gpkg.attachtrans"


def opened(path: Path, fingerprint: str = "model A", *, again: bool = False) -> Journal:
    journal = Journal(path)
    journal.begin(job(fingerprint), again=again)
    return journal


def test_a_result_is_done_for_its_own_model_only(path: Path) -> None:
    journal = opened(path)
    journal.record(entry("t/1", "a0", "a1"))
    assert journal.is_done("a1")
    assert not journal.is_done("a0")
    journal.close()
    journal = opened(path, "model B")
    assert not journal.is_done("a1")
    assert journal.is_known("a1")
    journal.close()


def test_again_starts_over_only_after_the_end(path: Path) -> None:
    journal = opened(path)
    journal.record(entry("t/1", "a0", "a1"))
    journal.close()  # interrupted: not finished
    journal = opened(path, again=True)
    assert journal.is_done("a1"), "an unfinished run is gone on with"
    journal.finish()
    journal.close()
    journal = opened(path, again=True)
    assert not journal.is_done("a1")
    journal.record(entry("t/1", "a1", "a2"))
    journal.close()  # the second generation is interrupted as well
    journal = opened(path, again=True)
    assert journal.is_done("a2"), "an interrupted --again must not translate a third time"
    journal.close()
    journal = opened(path)
    assert journal.is_done("a2")
    journal.close()


def test_a_new_journal_says_so_until_it_is_closed(path: Path) -> None:
    journal = opened(path)
    assert journal.is_new
    journal.close()
    journal = opened(path)
    assert not journal.is_new
    journal.close()


def test_story_names_the_original_of_a_chain(path: Path) -> None:
    journal = opened(path)
    journal.record(entry("t/1", "original", "one"))
    journal.record(entry("t/1", "one", "two"))
    assert journal.story("t/1") == ("original", {"one", "two"})
    journal.record(entry("t/1", "a new photo", "three"))
    assert journal.story("t/1") == ("a new photo", {"one", "two", "three"})
    assert journal.story("t/2") == (None, set())
    journal.close()


def test_restored_photos_are_forgotten(path: Path) -> None:
    journal = opened(path)
    journal.record(entry("t/1", "a0", "a1"))
    journal.mark_restored(["t/1"])
    assert not journal.is_done("a1")
    assert not journal.is_known("a1")
    journal.close()


@pytest.mark.slow
def test_a_second_run_is_kept_out(path: Path) -> None:
    journal = opened(path)
    code = (
        "import sys; from pathlib import Path; from attachtrans.journal import Journal\n"
        "from attachtrans.errors import BusyError\n"
        "try: Journal(Path(sys.argv[1]))\n"
        "except BusyError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "another run of attachtrans" in said
    with pytest.raises(BusyError, match="another run"):
        Journal(path)
    journal.close()
    Journal(path).close()


def test_entries_survive_a_killed_process_and_a_lost_wal(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tests.test_journal import opened, entry\n"
        "journal = opened(Path(sys.argv[1]))\n"
        "for i in range(20): journal.record(entry(f't/{i}', f'in{i}', f'out{i}'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(path)], check=False, cwd=Path(__file__).parents[1]
    )
    for side in path.parent.glob("*-wal"):
        side.unlink()
    journal = opened(path)
    assert all(journal.is_done(f"out{i}") for i in range(20))
    journal.close()


def test_what_is_no_journal_is_named(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(SinkError, match="is not a journal"):
        Journal(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="--work-dir"):
        Journal(tmp_path / "missing" / "j.attachtrans")


def test_a_copied_journal_goes_on(path: Path, tmp_path: Path) -> None:
    journal = opened(path)
    journal.record(entry("t/1", "a0", "a1"))
    copy = tmp_path / "copy.attachtrans"
    shutil.copy(path, copy)
    journal.close()
    journal = opened(copy)
    assert journal.is_done("a1")
    journal.close()


def test_a_journal_that_was_only_a_lock_goes_away(path: Path) -> None:
    journal = opened(path)
    journal.discard_if_empty()
    assert not list(path.parent.iterdir())
    journal = opened(path)
    journal.record(entry("t/1", "a0", "a1"))
    journal.mark_restored(["t/1"])
    journal.discard_if_empty()
    assert path.exists()
