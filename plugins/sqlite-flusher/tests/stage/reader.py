"""Reads a database once, and keeps what it saw as its snapshot until standard input ends."""

import sqlite3
import sys


def main():
    """Says how many rows it sees."""
    database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    database.execute("BEGIN")
    print(database.execute("SELECT count(*) FROM t").fetchone()[0], flush=True)
    sys.stdin.read()


main()
