// Lets an exception out into a host that cannot catch it.

#include <stdexcept>

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  throw std::runtime_error("the tape is torn");
}
