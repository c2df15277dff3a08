# Example external plugin for application checkpoint
import requests


class AppCheckpointer:
    def __init__(self):
        self.app_endpoint = "http://localhost:8080/api/checkpoint"
        self.timeout_seconds = 30

    def handle_event(self, event):
        if event.get("type") != "cloud.spot.interrupt":
            return {"handled": False}

        try:
            # Call application checkpoint API
            response = requests.post(
                self.app_endpoint,
                json={
                    "reason": "spot_termination",
                    "time_remaining": event["data"]["timeRemaining"]
                },
                timeout=self.timeout_seconds
            )

            if response.status_code == 200:
                return {
                    "handled": True,
                    "status": "checkpoint_triggered",
                    "app_response": response.json()
                }
            else:
                return {
                    "handled": False,
                    "error": f"Checkpoint API returned status {response.status_code}"
                }

        except Exception as e:
            return {
                "handled": False,
                "error": str(e)
            }


import cloudsnooze; cloudsnooze.run(AppCheckpointer)
