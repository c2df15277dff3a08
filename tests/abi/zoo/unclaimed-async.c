/* Says that it goes on without having claimed that it may. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)event;
  if (call == NULL) {
    return SNOOZE_OK;
  }
  self->host->complete(self->host, call, SNOOZE_OK, SNOOZE_STR(""));
  return SNOOZE_ASYNC;
}
