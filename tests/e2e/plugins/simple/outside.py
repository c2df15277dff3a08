"""A plugin in a process of its own that tells everything it was configured with, wherever it may speak.

Inputs -> outputs: the configuration and events -> texts on standard output and standard error, log lines, results,
exceptions; one line of JSON for each event in the file `journal`.
Must never: be used outside of tests.
"""

import json
import logging
import sys

import cloudsnooze


class Outside:
    def __init__(self, config):
        self.config = config
        self.tell("create")

    def tell(self, when):
        for value in self.config.values():
            print(f"{when}: printed {value}")
            print(f"{when}: wrote {value}", file=sys.stderr, flush=True)
            logging.getLogger().error("%s: logged %s", when, value)

    def handle_event(self, event):
        self.tell("event")
        with open(self.config["journal"], "a", encoding="utf-8") as journal:
            journal.write(json.dumps({"what": "event", "type": event["type"], "config": self.config}) + "\n")
        if event["type"] == "custom.fails":
            raise ValueError(f"cannot work with {self.config}")
        return {"handled": True, "config": self.config, "text": json.dumps(self.config)}

    def verify(self, event, result):
        raise ValueError(f"cannot verify with {self.config}")


cloudsnooze.run(Outside)
