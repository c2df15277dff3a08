"""The Python one of the four plugins that write one line of JSON about each event.

Inputs -> outputs: an event -> the same line, key by key, as c-examples/minimal, c-examples/cpp and recorder-rs write.
Must never: write a field that the others do not.
"""

import json
import os


class Recorder:
    name = "recorder-py"
    version = "1.0.0"

    def __init__(self, file):
        self.file = file

    def handle_event(self, event):
        data = event["data"]
        line = {
            "plugin": self.name,
            "type": event.get("type"),
            "id": event.get("id"),
            "source": event.get("source"),
            "severity": event.get("severity"),
            "provider": data.get("provider"),
            "action": data.get("action"),
            "deadline": data.get("time"),
            "instanceID": data.get("instanceID"),
            "instanceType": data.get("instanceType"),
            "zone": data.get("zone"),
            "region": data.get("region"),
            "noticeKind": data.get("noticeKind"),
        }
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return {"handled": True, "lines": 1}

    def verify(self, event, result):
        with open(self.file, encoding="utf-8") as file:
            return {"verified": any(json.loads(line)["id"] == event["id"] for line in file)}


import cloudsnooze; cloudsnooze.run(Recorder)
