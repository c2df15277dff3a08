/* Does not look whether it was cancelled: sleeps three seconds, whatever comes. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  zoo_sleep_ms(3000);
  return SNOOZE_OK;
}
