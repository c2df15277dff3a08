"""The emulator of AWS as a process of the test: says its port, and ends with its parent.

moto (PyPI) answers the requests. It has no lifecycle actions of Auto Scaling: those are added here, as AWS describes them.
"""

import json
import os
import sys
import threading

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import EmptyResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

heartbeats = []


def waiting_instance(response):
    """The instance that waits at the hook that is named, or the error that AWS gives."""
    hook = response._get_param("LifecycleHookName")
    number = response._get_param("InstanceId")
    hooks = [h.name for h in hooks_of(response)]
    for state in response.autoscaling_backend.describe_auto_scaling_instances([number]):
        if hook in hooks and state.lifecycle_state == "Terminating:Wait" and hook not in passed(state):
            return state
    raise ValidationError(f"No active Lifecycle Action found with instance ID {number}")


def hooks_of(response):
    hooks = response.autoscaling_backend.describe_lifecycle_hooks(response._get_param("AutoScalingGroupName"))
    return [hook for hook in hooks if hook.lifecycle_transition == "autoscaling:EC2_INSTANCE_TERMINATING"]


def passed(state):
    """What was answered at which hook."""
    return state.__dict__.setdefault("passed", {})


def record_heartbeat(response):
    waiting_instance(response)
    heartbeats.append(response._get_param("InstanceId"))
    return EmptyResult()


def complete_action(response):
    state = waiting_instance(response)
    answers = passed(state)
    answers[response._get_param("LifecycleHookName")] = response._get_param("LifecycleActionResult")
    if "ABANDON" in answers.values() or all(hook.name in answers for hook in hooks_of(response)):
        state.lifecycle_state = "Terminating:Proceed"
    return EmptyResult()


def control(path):
    """What a test does to the emulator beyond what AWS lets anybody do."""
    words = [word for word in path.split("/") if word]
    answers = {}
    if words[:1] == ["state"]:
        account, region, number, state = words[1:]
        for known in autoscaling_backends[account][region].describe_auto_scaling_instances([number]):
            known.lifecycle_state = state or known.lifecycle_state
            answers = passed(known)
    return json.dumps({"heartbeats": heartbeats, "answers": answers}).encode()


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


def with_control(application):
    def serve(environment, start_response):
        path = environment.get("PATH_INFO", "")
        if path.startswith("/test-control/"):
            body = control(path[len("/test-control"):])
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        return application(environment, start_response)

    return serve


def main():
    AutoScalingResponse.record_lifecycle_action_heartbeat = record_heartbeat
    AutoScalingResponse.complete_lifecycle_action = complete_action
    options = json.loads(sys.argv[1])
    tls = (options["cert"], options["key"]) if "cert" in options else None
    application = with_control(DomainDispatcherApplication(create_backend_app))
    port = options.get("port", 0)
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=Quiet, ssl_context=tls)
    # Whoever started this holds the other end, however it ends.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


main()
