"""Write CloudSnooze event handlers as ordinary Python classes.

A plugin is a class with ``handle_event(self, event) -> dict`` and one line at the bottom of its file::

    import cloudsnooze; cloudsnooze.run(AppCheckpointer)

The CloudSnooze daemon starts the file as a process of its own and speaks JSON-RPC 2.0 with it over stdin and
stdout; this package does that part. It has no dependencies beyond the standard library.
"""

from .calls import Call
from .logs import LogHandler, log
from .run import current_call, run, state_dir

__version__ = "0.1.0"

__all__ = ["Call", "LogHandler", "__version__", "current_call", "log", "run", "state_dir"]
