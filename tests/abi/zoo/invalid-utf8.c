/* Attaches bytes that are no text. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  snooze_set_result(self->host, call, SNOOZE_STR("{\"a\":\"\xff\xfe\"}"));
  return SNOOZE_OK;
}
