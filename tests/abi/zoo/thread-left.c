/* Starts a thread that nobody joins. */

#include "zoo.h"

#include <pthread.h>

static void *idle(void *nothing)
{
  zoo_sleep_ms(60000);
  return nothing;
}

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  {
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 65536);
    pthread_create(&thread, &detached, idle, NULL);
    pthread_attr_destroy(&detached);
  }
  return SNOOZE_OK;
}
