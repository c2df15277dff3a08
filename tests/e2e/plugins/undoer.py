"""Writes down every event that it is given; waits, when its configuration says so, before it answers a notice.

Inputs -> outputs: an event -> a line of JSON. Must never: change anything else.
"""

import json
import os
import time

import cloudsnooze


class Undoer:
    version = "1.0.0"

    def __init__(self, file, wait_seconds=0.0):
        self.file, self.wait_seconds = file, wait_seconds

    def handle_event(self, event):
        line = {
            "type": event["type"],
            "id": event["id"],
            "drill": event.get("drill", False),
            "cancels": event["data"].get("cancels"),
        }
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not line["cancels"]:
            time.sleep(self.wait_seconds)
        return {"handled": True}


cloudsnooze.run(Undoer)
