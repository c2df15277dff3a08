/* Takes it for granted that every service of the host works. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (event != NULL) {
    snooze_str json = {NULL, 0};
    self->host->event_json(self->host, event, &json);
    if (*(const volatile char *)json.ptr != '{') {
      return SNOOZE_SKIPPED;
    }
  }
  return SNOOZE_OK;
}
