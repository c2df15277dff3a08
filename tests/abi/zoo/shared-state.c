/* Keeps its state in a global, which goes with the first instance that goes. */

#define ZOO_CREATE create_shared
#include "zoo.h"

static int *shared;

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  *(volatile int *)shared += 1;
  return SNOOZE_OK;
}

static void destroy_shared(const snooze_plugin *plugin)
{
  free(shared);
  shared = NULL;
  zoo_destroy(plugin);
}

static snooze_status create_shared(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  snooze_status status = zoo_create(host, args, out);
  if (status == SNOOZE_OK) {
    shared = shared != NULL ? shared : (int *)calloc(1, sizeof *shared);
    ((struct zoo *)(*out)->ctx)->table.destroy = destroy_shared;
  }
  return status;
}
