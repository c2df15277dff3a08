/* Takes SIGTERM away from the host for as long as it is active, and puts the handler back afterwards. */

#define ZOO_CREATE create_deaf
#include "zoo.h"

#include <signal.h>

static struct sigaction before;

static void swallow(int number) { (void)number; }

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status activate_deaf(const snooze_plugin *plugin)
{
  struct sigaction action;
  (void)plugin;
  memset(&action, 0, sizeof action);
  action.sa_handler = swallow;
  sigaction(SIGTERM, &action, &before);
  return SNOOZE_OK;
}

static void deactivate_deaf(const snooze_plugin *plugin)
{
  (void)plugin;
  sigaction(SIGTERM, &before, NULL);
}

static snooze_status create_deaf(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  snooze_status status = zoo_create(host, args, out);
  if (status == SNOOZE_OK) {
    ((struct zoo *)(*out)->ctx)->table.activate = activate_deaf;
    ((struct zoo *)(*out)->ctx)->table.deactivate = deactivate_deaf;
  }
  return status;
}
