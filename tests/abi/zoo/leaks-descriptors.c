/* Opens a file at every event and never closes it. */

#include "zoo.h"

#include <fcntl.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) {
    return snooze_failf(self->host, SNOOZE_E_IO, "no descriptor is left");
  }
  return SNOOZE_OK;
}
