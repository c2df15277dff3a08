/* Takes SIGTERM away from the host. */

#include "zoo.h"

#include <signal.h>

static void swallow(int number) { (void)number; }

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  signal(SIGTERM, swallow);
  return SNOOZE_OK;
}
