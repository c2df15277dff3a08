"""An external plugin without the SDK that misbehaves at its first event, in the way its configuration names.

Inputs -> outputs: lines of JSON-RPC -> lines of JSON-RPC, or what the mode says in their place. A process that is
started again finds the file FILE.done and behaves. Apache-2.0.
"""

import json
import os
import signal
import subprocess
import sys

MODE = FILE = ""


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def record(event):
    with open(FILE, "a", encoding="utf-8") as file:
        file.write(f"misbehaves-py {event['id']}\n")


def wait_for_cancellation():
    """The next line is the notification that the call is no longer wanted."""
    return json.loads(sys.stdin.readline())["params"]["reason"]


def misbehave():
    """What is returned, if anything is, becomes the result."""
    if MODE == "exits":
        print("out of paper", file=sys.stderr, flush=True)
        os._exit(3)
    if MODE == "garbage":
        sys.stdout.write("Segmentation fault (just kidding)\n")
    elif MODE == "endless line":
        sys.stdout.write("x" * (2 << 20))
    elif MODE == "no object":
        return ["handled"]
    elif MODE == "finishes late":
        return {"handled": True, "reason": wait_for_cancellation()}
    elif MODE == "obeys":
        return {"handled": False, "error": f"stopped: {wait_for_cancellation()}"}
    elif MODE == "fails":
        return {"handled": False, "error": "the tape is torn"}
    elif MODE == "closes its output":
        os.close(1)
        signal.pause()
    elif MODE == "hangs":
        child = subprocess.Popen(["sleep", "60"])
        with open(FILE + ".pids", "w", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        signal.pause()
    sys.stdout.flush()
    return None


def handle(event):
    if os.path.exists(FILE + ".done"):
        record(event)
        return {"handled": True}
    with open(FILE + ".done", "w", encoding="utf-8"):
        pass
    return misbehave()


def main():
    global MODE, FILE
    for line in sys.stdin:
        request = json.loads(line)
        method = request["method"]
        if method == "initialize":
            MODE, FILE = request["params"]["config"]["mode"], request["params"]["config"]["file"]
            result = {"protocol": 1, "name": "misbehaves-py", "version": "1.0.0", "verify": False}
        elif method == "handle_event":
            result = handle(request["params"]["event"])
            if result is None:
                continue
        elif method == "shutdown":
            say({"id": request["id"], "result": None})
            return
        else:
            continue
        say({"id": request["id"], "result": result})


main()
