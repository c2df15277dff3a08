/* Opens what it needs in create, while the daemon waits. */

#define ZOO_CREATE create_slowly
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status create_slowly(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  zoo_sleep_ms(1500);
  return zoo_create(host, args, out);
}
