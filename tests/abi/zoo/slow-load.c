/* Does its work while it is being loaded. */

#include "zoo.h"

__attribute__((constructor)) static void prepare(void) { zoo_sleep_ms(2500); }

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}
