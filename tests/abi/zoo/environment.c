/* Changes the environment under every other thread. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  setenv("TZ", "Mars/Olympus", 1);
  return SNOOZE_OK;
}
