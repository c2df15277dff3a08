/* A thread of it reads the event after on_event has returned. */

#include "zoo.h"

#include <pthread.h>

static pthread_t thread;
static int has_thread;

static void *later(void *event)
{
  volatile uint32_t kind;
  zoo_sleep_ms(100);
  kind = ((const snooze_event *)event)->kind;
  (void)kind;
  return NULL;
}

/* Joins it, so that reading the event is the only defect. */
__attribute__((destructor)) static void join(void)
{
  if (has_thread) {
    pthread_join(thread, NULL);
  }
}

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (has_thread) {
    pthread_join(thread, NULL);
  }
  has_thread = pthread_create(&thread, NULL, later, (void *)event) == 0;
  return SNOOZE_OK;
}
