"""The application under test: a task that takes a while and leaves a file when it has ended.

Inputs -> outputs: BROKER, ACKS_LATE and OUT of the environment -> tasks. Must never: write the file before the end.
"""

import os
import time
from pathlib import Path

import celery

OUT = Path(os.environ["OUT"])

app = celery.Celery("jobs", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=os.environ["ACKS_LATE"] == "1",
    task_ignore_result=True,
    # What a worker that was killed held is given out again after this.
    broker_transport_options={"visibility_timeout": 8},
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)


@app.task(name="jobs.work")
def work(number, seconds):
    """Takes its time, then leaves its file."""
    time.sleep(seconds)
    with (OUT / str(number)).open("a", encoding="ascii") as file:
        file.write("done\n")
