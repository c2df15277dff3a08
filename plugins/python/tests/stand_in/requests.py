"""The few parts of `requests` that the example uses, for machines where the real one is not installed."""

import json as json_module
import urllib.error
import urllib.request


class Response:
    def __init__(self, status_code, body):
        self.status_code = status_code
        self._body = body

    def json(self):
        return json_module.loads(self._body)


def post(url, json, timeout):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json_module.dumps(json).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Response(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.read())
