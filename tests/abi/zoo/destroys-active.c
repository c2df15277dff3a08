/* Its destroy takes it for granted that activate was called. */

#define ZOO_CREATE create_trusting
#include "zoo.h"

static int *volatile opened;

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status activate_trusting(const snooze_plugin *plugin)
{
  static int room;
  (void)plugin;
  opened = &room;
  return SNOOZE_OK;
}

static void destroy_trusting(const snooze_plugin *plugin)
{
  *(volatile int *)opened = 0;
  zoo_destroy(plugin);
}

static snooze_status create_trusting(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  snooze_status status = zoo_create(host, args, out);
  if (status == SNOOZE_OK) {
    ((struct zoo *)(*out)->ctx)->table.activate = activate_trusting;
    ((struct zoo *)(*out)->ctx)->table.destroy = destroy_trusting;
  }
  return status;
}
