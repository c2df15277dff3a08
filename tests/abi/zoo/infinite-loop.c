/* Never comes back, and burns CPU meanwhile. */

#include "zoo.h"

static volatile int never;

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  while (!never) {
  }
  return SNOOZE_OK;
}
