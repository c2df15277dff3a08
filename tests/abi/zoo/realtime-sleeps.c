/* Claims SNOOZE_CAP_REALTIME and sleeps. */

#define CAPS SNOOZE_CAP_REALTIME
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  zoo_sleep_ms(2);
  return SNOOZE_OK;
}
