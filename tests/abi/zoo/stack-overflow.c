/* Calls itself until the stack is used up. */

#include "zoo.h"

static int deeper(volatile char *above);
static int (*volatile next)(volatile char *) = deeper;

static int deeper(volatile char *above)
{
  volatile char room[4096];
  room[0] = *above;
  return next(room) + room[0];
}

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  {
    volatile char top = 0;
    next(&top);
  }
  return SNOOZE_OK;
}
