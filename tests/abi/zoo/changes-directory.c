/* Moves the whole process to another directory. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (chdir("/tmp") != 0) {
    return snooze_failf(self->host, SNOOZE_E_IO, "cannot go to /tmp");
  }
  return SNOOZE_OK;
}
