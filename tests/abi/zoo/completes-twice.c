/* Completes a call, and completes it again. */

#define CAPS SNOOZE_CAP_ASYNC
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)event;
  if (call == NULL) {
    return SNOOZE_OK;
  }
  self->host->complete(self->host, call, SNOOZE_OK, SNOOZE_STR(""));
  self->host->complete(self->host, call, SNOOZE_E_IO, SNOOZE_STR("changed my mind"));
  return SNOOZE_ASYNC;
}
