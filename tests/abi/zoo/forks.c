/* Starts processes and forgets them. A few, for a short while: nobody is harmed. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  for (int i = 0; i < 3; i++) {
    if (fork() == 0) {
      alarm(5);
      pause();
      _exit(0);
    }
  }
  return SNOOZE_OK;
}
