"""Counts, and saves its count when it gets SIGUSR1; then it goes on.

Usage: counter.py DIRECTORY. It resumes from DIRECTORY/saved. How far it has counted stands in DIRECTORY/seen at any time,
where it began in DIRECTORY/resumed, after its process number.
"""

import os
import signal
import sys

directory = sys.argv[1]


def place(name):
    return os.path.join(directory, name)


def write(name, text):
    """Whole or not at all, and on the disk."""
    with open(place(name + ".tmp"), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(place(name + ".tmp"), place(name))


asked = False


def ask(_signal, _frame):
    global asked
    asked = True


signal.signal(signal.SIGUSR1, ask)
count = 0
if os.path.exists(place("saved")):
    with open(place("saved"), encoding="ascii") as saved:
        count = int(saved.read())
seen = os.open(place("seen"), os.O_RDWR | os.O_CREAT)
write("resumed", f"{os.getpid()} {count}")
while True:
    count += 1
    os.pwrite(seen, b"%020d" % count, 0)
    if asked:
        asked = False
        write("saved", str(count))
