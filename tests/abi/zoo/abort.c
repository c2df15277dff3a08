/* Gives up for the whole process. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  abort();
  return SNOOZE_OK;
}
