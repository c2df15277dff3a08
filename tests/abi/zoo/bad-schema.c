/* Its configuration schema is half a text. */

#define SCHEMA "{\"type\":\"object\","
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}
