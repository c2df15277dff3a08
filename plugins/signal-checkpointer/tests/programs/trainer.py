"""A small trainer in plain Python: linear regression by stochastic gradient descent, the same in every run.

Usage: trainer.py DIRECTORY STEPS. It resumes from the newest DIRECTORY/step-*.json, which holds all of its state: step,
weights, and that of its source of chance. On SIGUSR1 it saves such a file at the end of the step (not in the handler, which
could run in the middle of an update). DIRECTORY/progress holds the steps it has done, DIRECTORY/resumed where it began,
after its process number, and DIRECTORY/result.json what came of it.
"""

import glob
import json
import os
import random
import signal
import sys

directory, steps = sys.argv[1], int(sys.argv[2])
FEATURES = 24
BATCH = 16
RATE = 0.02


def place(name):
    return os.path.join(directory, name)


def write(name, value):
    """Whole or not at all, and on the disk."""
    with open(place(name + ".tmp"), "w", encoding="ascii") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(place(name + ".tmp"), place(name))


asked = False


def ask(_signal, _frame):
    global asked
    asked = True


signal.signal(signal.SIGUSR1, ask)
truth = [((i * 7) % 11) / 11 - 0.5 for i in range(FEATURES)]
chance = random.Random(42)
step, weights = 0, [0.0] * FEATURES
saved = sorted(glob.glob(place("step-*.json")))
if saved:
    with open(saved[-1], encoding="ascii") as file:
        state = json.load(file)
    step, weights = state["step"], state["weights"]
    version, inner, gauss = state["chance"]
    chance.setstate((version, tuple(inner), gauss))
progress = os.open(place("progress"), os.O_RDWR | os.O_CREAT)
write("resumed", [os.getpid(), step])
while step < steps:
    slope = [0.0] * FEATURES
    for _ in range(BATCH):
        features = [chance.uniform(-1, 1) for _ in range(FEATURES)]
        wanted = sum(a * b for a, b in zip(truth, features)) + chance.gauss(0, 0.1)
        error = sum(a * b for a, b in zip(weights, features)) - wanted
        for i, feature in enumerate(features):
            slope[i] += error * feature
    weights = [weight - RATE * s / BATCH for weight, s in zip(weights, slope)]
    step += 1
    os.pwrite(progress, b"%020d" % step, 0)
    if asked:
        asked = False
        write(f"step-{step:08}.json", {"step": step, "weights": weights, "chance": chance.getstate()})
write("result.json", weights)
