/* Reads through a wild pointer. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  {
    volatile int *const volatile wild = (volatile int *)16;
    (void)*wild;
  }
  return SNOOZE_OK;
}
