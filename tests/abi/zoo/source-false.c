/* Claims to be a source and offers nothing. */

#define CAPS SNOOZE_CAP_SOURCE
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}
