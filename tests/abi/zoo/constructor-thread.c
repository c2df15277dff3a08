/* Starts a thread while it is being loaded. */

#include "zoo.h"

#include <pthread.h>

static void *idle(void *nothing)
{
  zoo_sleep_ms(60000);
  return nothing;
}

__attribute__((constructor)) static void start(void)
{
  pthread_t thread;
  pthread_create(&thread, NULL, idle, NULL);
}

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;

  return SNOOZE_OK;
}
