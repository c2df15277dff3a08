"""Trains a small network with PyTorch on the CPU, the same in every run.

Usage: trainer.py DIRECTORY STEPS [--without-optimizer]. STEPS 0 is without end. It resumes from the newest
DIRECTORY/step-*.pt, which holds all of its state: step, weights, the optimizer's moments and the source of chance;
--without-optimizer leaves the moments out, as a trainer with a mistake would. On SIGUSR1 it saves such a file at the end of
the step (not in the handler, which could run in the middle of an update). DIRECTORY/seen holds the steps it has done,
DIRECTORY/resumed where it began, after its process number, and DIRECTORY/losses-NUMBER the loss of every step, to the last
bit.
"""

import glob
import os
import signal
import sys

import torch

directory, steps = sys.argv[1], int(sys.argv[2])
without_optimizer = "--without-optimizer" in sys.argv[3:]
FEATURES = 32
BATCH = 64


def place(name):
    return os.path.join(directory, name)


def write(name, fill):
    """Whole or not at all, and on the disk."""
    with open(place("being-written"), "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(place("being-written"), place(name))


asked = False


def ask(_signal, _frame):
    global asked
    asked = True


signal.signal(signal.SIGUSR1, ask)
# The order of additions decides the last bits: one thread, and only algorithms that always do the same.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.manual_seed(42)
truth = torch.randn(FEATURES, 1)
model = torch.nn.Sequential(
    torch.nn.Linear(FEATURES, 64),
    torch.nn.ReLU(),
    torch.nn.Dropout(0.1),
    torch.nn.Linear(64, 64),
    torch.nn.ReLU(),
    torch.nn.Linear(64, 1),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
step = 0
saved = sorted(glob.glob(place("step-*.pt")))
if saved:
    state = torch.load(saved[-1])
    step = state["step"]
    model.load_state_dict(state["model"])
    if not without_optimizer:
        optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["chance"])
seen = os.open(place("seen"), os.O_RDWR | os.O_CREAT)
losses = os.open(place(f"losses-{os.getpid()}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
write("resumed", lambda file: file.write(f"{os.getpid()} {step}".encode()))
while steps == 0 or step < steps:
    features = torch.randn(BATCH, FEATURES)
    wanted = torch.sin(features @ truth) + 0.1 * torch.randn(BATCH, 1)
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(features), wanted)
    loss.backward()
    optimizer.step()
    step += 1
    # One write each: a kill leaves whole lines.
    os.write(losses, f"{step} {loss.item().hex()}\n".encode())
    os.pwrite(seen, b"%020d" % step, 0)
    if asked:
        asked = False
        state = {
            "step": step,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "chance": torch.get_rng_state(),
        }
        write(f"step-{step:010}.pt", lambda file: torch.save(state, file))
