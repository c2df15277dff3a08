/* Calls whatever stands behind the part of the host's table that it knows. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (self->host->struct_size > sizeof(snooze_host)) {
    void (*const *tail)(const snooze_host *) = (void (*const *)(const snooze_host *))(self->host + 1);
    (*tail)(self->host);
  }
  return SNOOZE_OK;
}
