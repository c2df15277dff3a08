"""CloudSnooze plugin: has this machine's Celery workers take no more tasks and finish, or give back, what they have.

Inputs -> outputs: a notice -> cancelled consumers, finished tasks, workers that were shut down, and the numbers before and after.
Must never: call a worker drained that still holds a task, signal a process that is not a worker of this machine, or show the
broker's address, which may hold a password.
"""

import fnmatch
import json
import os
import signal
import socket
import time
from pathlib import Path

import celery
import cloudsnooze
import kombu.exceptions

# Kept back for the report.
_RESERVE_SECONDS = 0.5
# How often workers are asked while they finish.
_LOOK_SECONDS = 0.5
# Queues whose lengths a report shows.
_SHOWN_QUEUES = 50
_RECORD = "cancelled.json"

_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["broker_url"],
    "properties": {
        "broker_url": {
            "type": "string",
            "writeOnly": True,
            "description": "The broker, as the workers have it: redis://:PASSWORD@HOST:6379/0 or amqp://USER:PASSWORD@HOST//.",
        },
        "broker_transport_options": {
            "type": "object",
            "default": {},
            "description": "Celery's setting of that name, where the workers have one: global_keyprefix, say.",
        },
        "workers": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["*@HOST"],
            "description": "Node names of the workers, with * and ?; HOST stands for this machine's name.",
        },
        "shutdown": {
            "enum": ["when-late", "always", "never"],
            "default": "when-late",
            "description": "Shut down workers that have not finished in time, those that have as well, or none.",
        },
        "shutdown_seconds": {
            "type": "number",
            "minimum": 1,
            "maximum": 3600,
            "default": 15,
            "description": "Seconds kept back for that: a warm shutdown (SIGTERM) in the first half, then a cold one (SIGQUIT).",
        },
        "reply_seconds": {
            "type": "number",
            "minimum": 0.1,
            "maximum": 60,
            "default": 1,
            "description": "How long workers may take to answer a question.",
        },
    },
}


class _Failed(Exception):
    """What could not be done; the text is for the report."""


class CeleryDrain:
    """Has this machine's Celery workers take no more tasks and finish, or give back, what they have."""

    name = "celery-drain"
    version = "0.1.0"
    subscriptions = ["cloud.*", "system.shutdown", "custom.*"]
    undo = True  # the withdrawal of an event comes to this instance too
    drill = True  # in one it only looks
    config_schema = _SCHEMA

    def __init__(self, config):
        unknown = sorted(set(config) - set(_SCHEMA["properties"]))
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(unknown)}")
        if not isinstance(config.get("broker_url"), str) or "://" not in config["broker_url"]:
            raise ValueError("broker_url is not a URL, such as redis://127.0.0.1:6379/0")
        setting = {key: config.get(key, rule.get("default")) for key, rule in _SCHEMA["properties"].items()}
        if setting["shutdown"] not in _SCHEMA["properties"]["shutdown"]["enum"]:
            raise ValueError("shutdown is none of when-late, always, never")
        self._host = socket.gethostname()
        self._patterns = [pattern.replace("HOST", self._host) for pattern in setting["workers"]]
        if not self._patterns:
            raise ValueError("workers: with none there is nothing to do")
        self._shutdown = setting["shutdown"]
        self._shutdown_seconds = float(setting["shutdown_seconds"])
        self._reply_seconds = float(setting["reply_seconds"])
        self._app = celery.Celery("celery-drain", broker=setting["broker_url"], set_as_current=False)
        self._app.conf.update(
            broker_transport_options={**setting["broker_transport_options"], "socket_connect_timeout": 2, "socket_timeout": 5},
            broker_connection_timeout=2,
            broker_connection_retry=False,
        )
        connection = self._app.connection_for_read()
        self._broken = (OSError, kombu.exceptions.OperationalError, *connection.connection_errors, *connection.channel_errors)

    def warm_up(self):
        """Connects ahead of the event; a broker or workers that are not there now show today."""
        try:
            if not self._workers():
                cloudsnooze.log("warning", f"no worker answers to {', '.join(self._patterns)} now")
        except Exception as error:
            cloudsnooze.log("warning", f"the broker does not answer now: {type(error).__name__}")

    def close(self):
        """Closes the connection."""
        self._app.close()

    def handle_event(self, event):
        """One event: what it asks for decides."""
        kind, data = str(event.get("type", "")), event.get("data") or {}
        clock = _Clock(cloudsnooze.current_call())
        try:
            if kind.endswith(".cancelled") or data.get("cancels"):
                return self._undo(data.get("cancels"))
            if event.get("drill") is True:
                return self._check(clock)
            if kind.endswith((".rebalance", ".freeze")) or data.get("action") == "freeze":
                return {"handled": False, "declined": "the machine may stay, and a worker that takes no tasks serves nobody"}
            return self._drain(event, clock)
        except _Failed as error:
            return {"handled": False, "error": str(error)}
        except self._broken as error:
            # Its text may name the broker with everything that its address holds.
            return {"handled": False, "error": f"the broker cannot be reached: {type(error).__name__}"}

    def verify(self, event, result):
        """Whether the workers still take no tasks and hold none."""
        evidence = result.get("evidence") or {}
        names = sorted(evidence.get("after", {}).get("workers", {}))
        if result.get("action") == "check" or not names:
            return {"verified": True, "evidence": {"workers": 0}}
        now = self._look(names)
        takes_tasks = result.get("action") == "resume"
        wrong = [name for name, state in now.items() if bool(state["queues"]) != takes_tasks or (not takes_tasks and _held(state))]
        if wrong:
            text = "takes no tasks" if takes_tasks else "takes or holds tasks"
            return {"verified": False, "error": f"{wrong[0]} {text}", "evidence": {"workers": _shown(now)}}
        return {"verified": True, "evidence": {"workers": _shown(now)}}

    # The work.

    def _drain(self, event, clock):
        names = self._workers()
        if not names:
            return {"handled": False, "declined": f"no worker answers to {', '.join(self._patterns)}"}
        before = self._look(names)
        counts_before = self._counts(before)
        processes = self._processes(names)
        # Before it is done: a crash in between must not lose it.
        self._note(str(event.get("id", "")), {name: state["queues"] for name, state in before.items()})
        for name, state in before.items():
            for queue in state["queues"]:
                self._app.control.cancel_consumer(queue, destination=[name], reply=True, timeout=self._reply_seconds, limit=1)
        skipped = []
        state = self._finish(names, clock)
        late = [name for name in names if _held(state.get(name))]
        if clock.is_cancelled():
            raise _Failed("cancelled; the workers take no tasks until the notice is withdrawn")
        ends, lost = {}, []
        to_end = names if self._shutdown == "always" else late if self._shutdown == "when-late" else []
        if late:
            holding = ", ".join(f"{name} holds {_held(state[name])}" for name in late)
            skipped.append({"step": "finish", "reason": f"not all tasks ended in their time: {holding}"})
        if to_end:
            ends, lost = self._end(to_end, processes, state, clock)
        after = self._look([name for name in names if name not in ends])
        # One that runs elsewhere can only be asked.
        runs_on = self._look([name for name, how in ends.items() if how == "runs"], all_must_answer=False)
        after.update({name: runs_on.get(name) or {"ended": "warm" if how == "runs" else how} for name, how in ends.items()})
        held = {name: _held(now) for name, now in after.items() if "ended" not in now and _held(now)}
        report = {
            "action": "drain",
            "evidence": {
                "before": {"workers": _shown(before), **counts_before},
                "after": {"workers": _shown(after), **self._counts(before)},
                "lost": lost[:_SHOWN_QUEUES],
            },
            "skipped": skipped,
            "durable": "no" if held or lost else "yes",
        }
        if held or lost:
            texts = [f"{name} still holds {count} tasks" for name, count in held.items()]
            texts += [f"{len(lost)} tasks that were acknowledged early did not end"] if lost else []
            return {"handled": False, "error": "; ".join(texts), **report}
        return {"handled": True, **report}

    def _finish(self, names, clock):
        """Waits until the workers hold nothing, or the time kept back for their shutdown begins; gives how they are then."""
        keep = 0 if self._shutdown == "never" else min(self._shutdown_seconds, clock.left() / 2)
        while True:
            state = self._look(names)
            waits = [one for one in state.values() if one["active"] or one["reserved"]]
            if not waits or clock.left() <= keep or not clock.pause(_LOOK_SECONDS):
                return state

    def _end(self, names, processes, state, clock):
        """Shuts workers down: warm, so that they give back what they have not begun, then cold."""
        if clock.left() < self._reply_seconds:
            raise _Failed("no time is left to shut the workers down")
        quit_at = clock.left() / 2
        self._app.control.shutdown(destination=names)
        here = {name: processes[name] for name in names if name in processes}
        ends = {name: "runs" for name in names}

        def wait(how, least):
            while clock.left() > least and any(end == "runs" for end in ends.values()):
                for name, process in here.items():
                    if ends[name] == "runs" and process.has_ended():
                        ends[name] = how
                if not clock.pause(0.1):
                    return

        wait("warm", quit_at)
        lost = []
        for name in [name for name, end in ends.items() if end == "runs" and name in here]:
            # What was acknowledged when it began is nobody's any more once its process is gone.
            lost += [task["id"] for task in state[name]["tasks"] if task["acknowledged"] is True]
            here[name].signal(signal.SIGQUIT)
        wait("cold", 0)
        return ends, lost

    def _check(self, clock):
        names = self._workers()
        state = self._look(names)
        here = self._processes(names)
        return {
            "handled": True,
            "action": "check",
            "evidence": {
                "before": {"workers": _shown(state), **self._counts(state)},
                "after": {"workers": _shown(state)},
                "can_be_signalled": {name: name in here for name in names},
                "left_seconds": round(clock.left(), 1),
                "fits": clock.left() > self._shutdown_seconds,
            },
            "durable": "unknown",
        }

    def _undo(self, withdrawn):
        noted = self._noted()
        events = [event for event in noted if withdrawn is None or event == withdrawn]
        if not events:
            return {"handled": False, "declined": "this instance has stopped no worker taking tasks"}
        queues = {}
        for event in events:
            for name, of_worker in noted.pop(event).items():
                queues.setdefault(name, set()).update(of_worker)
        answering = set(self._workers())
        gone = sorted(name for name in queues if name not in answering)
        names = sorted(set(queues) - set(gone))
        before = self._look(names)
        for name in names:
            for queue in sorted(queues[name]):
                self._app.control.add_consumer(queue, destination=[name], reply=True, timeout=self._reply_seconds, limit=1)
        after = self._look(names)
        idle = [name for name in names if not queues[name] <= set(after[name]["queues"])]
        self._write(noted)
        report = {
            "action": "resume",
            "evidence": {"before": {"workers": _shown(before)}, "after": {"workers": _shown(after)}},
            "skipped": [{"step": f"resume {name}", "reason": "it was shut down; its supervisor has to start it"} for name in gone],
            "durable": "unknown",
        }
        if idle:
            return {"handled": False, "error": f"{idle[0]} takes no tasks again", **report}
        return {"handled": True, **report}

    # Workers and the broker.

    def _inspect(self, names):
        return self._app.control.inspect(destination=names, timeout=self._reply_seconds, limit=len(names))

    def _workers(self):
        """Node names of the workers that answer and are meant."""
        replies = self._app.control.ping(timeout=self._reply_seconds) or []
        names = {name for reply in replies for name in reply}
        return sorted(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns))

    def _look(self, names, all_must_answer=True):
        """What each worker takes and holds. What one that does not answer holds nobody knows."""
        if not names:
            return {}
        asked = [self._inspect(names) for _ in range(4)]
        answers = [asked[0].active(), asked[1].reserved(), asked[2].scheduled(), asked[3].active_queues()]
        active, reserved, scheduled, queues = [answer or {} for answer in answers]
        missing = [name for name in names if name not in active or name not in queues]
        if missing and all_must_answer:
            raise _Failed(f"{missing[0]} does not answer any more")
        return {
            name: {
                "active": len(active[name]),
                "reserved": len(reserved.get(name) or []),
                "scheduled": len(scheduled.get(name) or []),
                "queues": sorted(queue["name"] for queue in queues[name] or []),
                "tasks": [{"id": task.get("id"), "acknowledged": task.get("acknowledged")} for task in active[name]],
            }
            for name in names
            if name not in missing
        }

    def _processes(self, names):
        """The main processes of those workers that run on this machine."""
        stats = self._inspect(names).stats() or {} if names else {}
        found = {}
        for name, one in stats.items():
            process = _Process(int(one.get("pid") or 0))
            if name.rpartition("@")[2] == self._host and process.is_worker():
                found[name] = process
        return found

    def _counts(self, state):
        """Tasks in the queues of these workers, and those given out and not acknowledged, of all workers of the broker."""
        queues = sorted({queue for one in state.values() for queue in one["queues"]})
        with self._app.connection_for_read() as connection:
            channel = connection.default_channel
            queued = {}
            for queue in queues[:_SHOWN_QUEUES]:
                try:
                    queued[queue] = channel.queue_declare(queue=queue, passive=True).message_count
                except connection.channel_errors:
                    # A queue of Redis that is empty is not there; AMQP closes the channel over it.
                    queued[queue] = 0
                    channel = connection.channel()
            return {"queued": queued, "unacked": _unacked(channel)}

    # What is to be undone.

    def _file(self):
        directory = cloudsnooze.state_dir()
        return Path(directory) / _RECORD if directory else None

    def _noted(self):
        file = self._file()
        if file is None or not file.exists():
            return {}
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            cloudsnooze.log("warning", f"{_RECORD} cannot be read: {type(error).__name__}")
            return {}
        # What was noted before the machine was last started is over.
        return content.get("events", {}) if content.get("boot") == _boot() else {}

    def _note(self, event, queues):
        noted = self._noted()
        known = noted.setdefault(event, {})
        for name, of_worker in queues.items():
            known[name] = sorted(set(known.get(name, [])) | set(of_worker))
        self._write(noted)

    def _write(self, noted):
        file = self._file()
        if file is None:
            return
        try:
            fresh = file.with_suffix(".new")
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"boot": _boot(), "events": noted}), encoding="utf-8")
            fresh.replace(file)
        except OSError as error:
            cloudsnooze.log("warning", f"what was stopped may not be resumed after a restart: {error}")


class _Clock:
    """Time of one call, less what its report takes."""

    def __init__(self, call):
        self._call = call
        left = call.time_left_ms()
        seconds = 60.0 if left is None else left / 1000
        self._ends = time.monotonic() + seconds - min(_RESERVE_SECONDS, seconds / 10)

    def left(self):
        return max(0.0, self._ends - time.monotonic())

    def is_cancelled(self):
        return self._call.cancelled.is_set()

    def pause(self, seconds):
        """Waits; False when it is over or nobody wants the result any more."""
        return not self._call.cancelled.wait(min(seconds, self.left())) and self.left() > 0


class _Process:
    """A process of this machine, known by its number and when it began."""

    def __init__(self, pid):
        self._pid = pid
        self._began = self._stat()

    def _stat(self):
        """When it began, in ticks; None when it has ended."""
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
            # proc_pid_stat(5): the state comes after the name, the time of the start 19 fields later.
            return None if fields[0] in "ZX" else fields[19]
        except (OSError, IndexError):
            return None

    def is_worker(self):
        try:
            return self._began is not None and b"celery" in Path(f"/proc/{self._pid}/cmdline").read_bytes()
        except OSError:
            return False

    def has_ended(self):
        return self._stat() != self._began

    def signal(self, number):
        if not self.has_ended():
            try:
                os.kill(self._pid, number)
            except PermissionError as error:
                raise _Failed(f"process {self._pid} cannot be signalled: {error.strerror}") from error
            except ProcessLookupError:
                pass  # It has ended in this moment, which is all that is wanted.


def _held(state):
    """Tasks that a worker holds."""
    return 0 if state is None or "ended" in state else state["active"] + state["reserved"] + state["scheduled"]


def _shown(workers):
    return {name: {key: value for key, value in state.items() if key != "tasks"} for name, state in workers.items()}


def _unacked(channel):
    """How many messages are given out and not acknowledged; None where the transport does not tell."""
    key, client = getattr(channel, "unacked_key", None), getattr(channel, "client", None)
    return client.hlen(key) if key and client is not None and hasattr(client, "hlen") else None


def _boot():
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


cloudsnooze.run(CeleryDrain)
