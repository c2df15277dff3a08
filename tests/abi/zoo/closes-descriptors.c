/* Closes every descriptor that it can find, as programs do that become daemons. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  for (int fd = 3; fd < 256; fd++) {
    close(fd);
  }
  return SNOOZE_OK;
}
