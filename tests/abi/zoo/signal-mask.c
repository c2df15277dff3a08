/* Blocks signals on the thread that it was lent. */

#include "zoo.h"

#include <signal.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  {
    sigset_t set;
    sigemptyset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
  }
  return SNOOZE_OK;
}
