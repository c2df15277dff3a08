/* Prints to standard output. */

#include "zoo.h"

#include <stdio.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  puts("an event has come");
  return SNOOZE_OK;
}
