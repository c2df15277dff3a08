/* Ends the process in an orderly way. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  exit(3);
  return SNOOZE_OK;
}
