"""An application that keeps its data in SQLite: writes row after row, and notes elsewhere what was committed.

Arguments: database, file for the last committed number, synchronous, journal mode, locking mode, seconds between two rows.
"""

import os
import sqlite3
import sys
import time


def main():
    """Runs until it is killed."""
    path, noted, synchronous, journal, locking, pause = sys.argv[1:]
    database = sqlite3.connect(path, isolation_level=None, timeout=60)
    database.execute(f"PRAGMA locking_mode={locking}")
    database.execute(f"PRAGMA journal_mode={journal}")
    database.execute(f"PRAGMA synchronous={synchronous}")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, x BLOB)")
    note = os.open(noted, os.O_CREAT | os.O_WRONLY, 0o600)
    number = database.execute("SELECT coalesce(max(n), 0) FROM t").fetchone()[0]
    while True:
        number += 1
        database.execute("INSERT INTO t VALUES(?, randomblob(300))", (number,))
        os.pwrite(note, b"%020d\n" % number, 0)
        time.sleep(float(pause))


main()
